//! What integration tests are written with: an upstream, a server for it, the real binary, real
//! clients.
//!
//! ```ignore
//! #[test]
//! fn a_package_of_the_right_size_with_wrong_bytes_is_refused() {
//!     for upstream in Upstream::both() {
//!         let upstream = upstream.package(Package::new("hello", "1.0-1").file(b"hi"));
//!         let mirror = Mirror::of(upstream);
//!         let path = mirror.built.path_of("hello");
//!         mirror.server.fault(&path, Times::Always, Fault::WrongBytes);
//!
//!         mirror.sync().fails_with(4, "error: r: ...\n");
//!         assert!(!mirror.published().exists());
//!     }
//! }
//! ```
//!
//! - [`tree`]: files by path, in memory; comparing, reading from and writing to a directory.
//! - [`upstream`]: consistent, signed repositories of both formats in a tree.
//! - [`keys`]: the OpenPGP keys that sign them and rpm packages, of every algorithm, expired and
//!   revoked.
//! - [`key_files`]: what is published of the keys beside the upstream's own files.
//! - [`server`], [`tls`]: a tree over http or https, with faults, hooks and a request log.
//! - [`mirror`]: the scene of most tests, made of an upstream, its server and chantal.
//! - [`chantal`]: the binary in a private directory with a configuration of its own.
//! - [`air_gap`]: an exporter with its mirror, and an importer that has no upstream.
//! - [`mount`]: a file system that is soon full.
//! - [`process`]: running programs; their output and its assertions.
//! - [`clients`]: apt-get, dnf, gpgv, nginx and others, cut off from the machine's own
//!   configuration.
//!
//! Nothing here waits without an end and nothing leaves the loopback interface.

pub mod air_gap;
pub mod chantal;
pub mod clients;
pub mod disk;
pub mod key_files;
pub mod keys;
pub mod mirror;
pub mod mount;
pub mod process;
pub mod server;
pub mod tls;
pub mod tree;
pub mod upstream;
