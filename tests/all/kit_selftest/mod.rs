//! The kit judged by others: the server by raw sockets and an HTTP client, the upstreams by real
//! clients.

mod configuration;
mod fixtures;
mod repositories;
mod rpm_packages;
mod server;
