//! How a repository is shown on a medium: text for people, which is never loaded.
//!
//! It has nothing that belongs to the exporter only: no credentials, query of a URL, proxy, path or
//! command.

use crate::config::{FormatConfig, Repository, UpstreamUrl};

/// As in `repos.d`; strings are quoted as in JSON, which is YAML, too.
pub fn describe(repository: &Repository) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("strings can be serialized");
    let list = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
        format!("[{}]", items.join(", "))
    };
    let mut text = format!(
        "name: {}\ntype: {}\n",
        quoted(repository.id.as_str()),
        repository.format.kind()
    );
    if let UpstreamUrl::Http(url) = &repository.upstream {
        let mut url = url.as_url().clone();
        url.set_query(None);
        text += &format!("upstream:\n  url: {}\n", quoted(url.as_str()));
    }
    match &repository.format {
        FormatConfig::Apt(apt) => {
            text += &format!(
                "apt:\n  distribution: {}\n  components: {}\n  architectures: {}\n",
                quoted(&apt.distribution.to_string()),
                list(&apt.components),
                list(&apt.architectures)
            );
            for (key, value) in [
                ("sources", apt.sources),
                ("udebs", apt.udebs),
                ("installer", apt.installer),
            ] {
                if value {
                    text += &format!("  {key}: true\n");
                }
            }
        }
        FormatConfig::Rpm(rpm) => {
            text += "rpm:\n";
            if let Some(architectures) = &rpm.architectures {
                text += &format!("  architectures: {}\n", list(architectures));
            }
            text += &format!("  sources: {}\n", rpm.sources);
        }
    }
    text
}
