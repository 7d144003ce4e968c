//! The settings of the broker, put together from defaults, file, environment and flags, the later winning, with
//! where each came from.

mod address;
mod flags;
mod layer;
mod table;
mod value;

use std::ffi::OsString;
use std::path::PathBuf;

use figment::Figment;
use figment::error::{Error, Kind};
use leveret_server::Config;
use tracing_subscriber::filter::Targets;

pub(crate) use self::flags::Flags;
use self::layer::Layer;
use self::table::SETTINGS;
use crate::failure::Failure;
use crate::log;

const CONFIG_VARIABLE: &str = "LEVERET_CONFIG";

/// The effective settings.
pub(crate) struct Settings {
    /// Those of the server.
    pub(crate) server: Config,
    /// Where the management listens, `off` for nowhere.
    pub(crate) management: String,
    /// What is logged.
    pub(crate) log: Targets,
    figment: Figment,
}

/// A setting as it is shown.
pub(crate) struct Effective {
    pub(crate) key: &'static str,
    /// As in a settings file; `None` where it is not set.
    pub(crate) value: Option<String>,
    pub(crate) secret: bool,
    /// Where it came from.
    pub(crate) origin: String,
}

impl Settings {
    /// Puts the settings together from these flags, the process's environment, and the file that either names.
    pub(crate) fn load(flags: &Flags) -> Result<Self, Failure> {
        Self::from(flags, std::env::vars_os())
    }

    fn from(flags: &Flags, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, Failure> {
        let environment: Vec<_> = environment.collect();
        let mut figment = Figment::from(Layer::of_defaults());
        if let Some(path) = file_named(flags, &environment) {
            figment = figment.merge(Layer::of_file(&path)?);
        }
        for layer in layer::of_environment(environment.into_iter())?.into_iter().chain(layer::of_flags(flags))
        {
            figment = figment.merge(layer);
        }
        Self::extract(figment)
    }

    fn extract(figment: Figment) -> Result<Self, Failure> {
        let server: Config = figment.focus("server").extract().map_err(|error| wrong_type(&error))?;
        let log: String = figment.extract_inner("log").map_err(|error| wrong_type(&error))?;
        let management: String = figment.extract_inner("management").map_err(|error| wrong_type(&error))?;
        let wrong = |key: &str, problem: String| {
            Failure::usage(format!("{}{key}: {problem}", origin_prefix(&figment, key)))
        };
        address::check(&server.amqp).map_err(|problem| wrong("amqp", problem))?;
        address::check(&server.amqps).map_err(|problem| wrong("amqps", problem))?;
        address::check(&management).map_err(|problem| wrong("management", problem))?;
        let log = log::parse(&log).map_err(|problem| wrong("log", problem))?;
        check_together(&server)?;
        Ok(Self { server, management, log, figment })
    }

    /// Whether somebody has said where the management is to listen.
    pub(crate) fn management_is_wanted(&self) -> bool {
        origin(&self.figment, "management") != "default"
    }

    /// All settings, with where each came from.
    pub(crate) fn effective(&self) -> impl Iterator<Item = Effective> {
        SETTINGS.iter().map(|setting| Effective {
            key: setting.key,
            value: self.figment.find_value(&path_of(setting.key)).ok().as_ref().and_then(value::to_toml),
            secret: setting.secret,
            origin: origin(&self.figment, setting.key),
        })
    }
}

/// Settings of the program itself, with their defaults.
const OWN: [(&str, &str); 2] = [("management", "127.0.0.1:15672"), ("log", "info")];

/// Where a setting stands among the layers' values: those of the server are kept apart from the program's own.
fn path_of(key: &str) -> String {
    if OWN.iter().any(|(own, _)| *own == key) { key.into() } else { format!("server.{key}") }
}

fn file_named(flags: &Flags, environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let variable = || environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    flags.config.clone().or_else(|| variable().map(|(_, path)| path.into()))
}

fn origin(figment: &Figment, key: &str) -> String {
    figment.find_metadata(&path_of(key)).map_or_else(|| "default".into(), |found| found.name.to_string())
}

fn origin_prefix(figment: &Figment, key: &str) -> String {
    format!("{}: ", origin(figment, key))
}

fn check_together(server: &Config) -> Result<(), Failure> {
    if server.amqp == "off" && server.amqps == "off" {
        return Err(Failure::usage("amqp and amqps are both off: there is nothing to listen on"));
    }
    if let Some(tls) = &server.tls {
        for (key, path) in [("tls.cert", &tls.cert), ("tls.key", &tls.key)] {
            if path.as_os_str().is_empty() {
                return Err(Failure::usage(format!("{key} is not set: certificate and key go together")));
            }
        }
    }
    Ok(())
}

fn wrong_type(error: &Error) -> Failure {
    let origin = error.metadata.as_ref().map_or("settings", |metadata| metadata.name.as_ref());
    let key = error.path.join(".");
    let problem = match &error.kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("expected {}, found {found}", expectation(expected))
        }
        Kind::UnknownVariant(found, expected) => format!("expected {}, found {found}", expected.join(" or ")),
        other => other.to_string(),
    };
    Failure::usage(format!("{origin}: {key}: {problem}"))
}

/// What serde expects, in words for people.
fn expectation(expected: &str) -> String {
    match expected {
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" => "a whole number from 0 on".into(),
        "a sequence" => "a list of strings".into(),
        "path string" => "a path".into(),
        "struct Tls" => "a section with cert and key".into(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leveret.toml");
        std::fs::write(&path, file).unwrap();
        let setting = |key| *SETTINGS.iter().find(|setting| setting.key == key).unwrap();
        let given = flags.iter().map(|(key, text)| (setting(*key), (*text).to_owned())).collect();
        let environment = environment.iter().map(|(name, text)| ((*name).into(), (*text).into()));
        Settings::from(&Flags { config: Some(path), given }, environment)
    }

    fn refusal(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
        load(file, environment, flags).err().expect("a refusal").to_string()
    }

    #[test]
    fn later_origins_win() {
        let settings = load(
            "heartbeat_s = 1\nchannel_max = 2\nframe_max_bytes = 5000\n[tls]\ncert = 'c'\nkey = 'k'",
            &[
                ("LEVERET_HEARTBEAT_S", "3"),
                ("LEVERET_CHANNEL_MAX", "4"),
                ("LEVERET_DEFAULT_USER", "ours"),
                ("RABBITMQ_DEFAULT_USER", "theirs"),
                ("RABBITMQ_DEFAULT_PASS", "123"),
                ("LEVERET_TLS_KEY", "other"),
                ("RABBITMQ_NODE_PORT", "1"),
            ],
            &[("heartbeat_s", "5")],
        )
        .unwrap();
        let server = &settings.server;
        assert_eq!((server.heartbeat_s, server.channel_max, server.frame_max_bytes), (5, 4, 5000));
        assert_eq!((server.default_user.as_str(), server.default_pass.as_str()), ("ours", "123"));
        let tls = server.tls.as_ref().unwrap();
        assert_eq!((tls.cert.to_str(), tls.key.to_str()), (Some("c"), Some("other")));
    }

    #[test]
    fn each_setting_tells_where_it_came_from() {
        let environment = [("LEVERET_CHANNEL_MAX", "4"), ("RABBITMQ_DEFAULT_PASS", "123")];
        let settings = load("heartbeat_s = 1", &environment, &[("amqp", "127.0.0.1:0")]).unwrap();
        let origin = |key| settings.effective().find(|effective| effective.key == key).unwrap().origin;
        assert!(origin("heartbeat_s").ends_with("leveret.toml"));
        assert_eq!(origin("channel_max"), "environment LEVERET_CHANNEL_MAX");
        assert_eq!(origin("default_pass"), "environment RABBITMQ_DEFAULT_PASS");
        assert_eq!(origin("amqp"), "flag --amqp");
        assert_eq!(origin("default_vhost"), "default");
        assert_eq!(origin("tls.cert"), "default");
    }

    #[test]
    fn wrong_values_are_told_with_their_origin() {
        assert_eq!(
            refusal("", &[("LEVERET_HEARTBEAT_S", "soon")], &[]),
            "environment LEVERET_HEARTBEAT_S: heartbeat_s: expected a whole number from 0 to 65535, found string \"soon\""
        );
        assert_eq!(
            refusal("", &[], &[("heartbeat_s", "70000")]),
            "flag --heartbeat-s: heartbeat_s: expected a whole number from 0 to 65535, found unsigned int `70000`"
        );
        assert!(
            refusal("amqp = 5672", &[], &[])
                .ends_with("leveret.toml: amqp: expected a string, found signed int `5672`")
        );
        assert!(
            refusal("durability = 'never'", &[], &[])
                .ends_with("durability: expected sync or os, found never")
        );
        assert!(refusal("tls = 1", &[], &[]).contains("a section with cert and key"));
        assert!(refusal("", &[], &[("amqp", "5672")]).contains("flag --amqp: amqp: "));
        assert!(refusal("", &[], &[("log", "loud")]).contains("`loud` is not a level"));
        assert!(refusal("", &[], &[("tls.cert", "c")]).contains("tls.key is not set"));
        assert!(refusal("", &[], &[("amqp", "off")]).contains("nothing to listen on"));
    }
}
