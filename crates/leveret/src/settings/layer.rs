//! Where settings come from: the file, the environment, the flags. Each becomes a layer of values that knows its
//! origin; unknown keys are refused here.

use std::ffi::OsString;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::flags::Flags;
use super::table::SETTINGS;
use super::value::{default_values, from_text};
use super::{CONFIG_VARIABLE, OWN, path_of};
use crate::failure::Failure;

const PREFIX: &str = "LEVERET_";

/// RabbitMQ's own variables, which its container image made the usual ones.
const OF_RABBITMQ: [(&str, &str); 3] = [
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
];

/// Values of one origin.
pub(super) struct Layer {
    origin: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

impl Layer {
    fn of_one(origin: String, key: &str, text: &str) -> Self {
        let nested = figment::util::nest(&path_of(key), from_text(key, text));
        Self { origin, values: nested.into_dict().unwrap_or_default() }
    }

    pub(super) fn of_defaults() -> Self {
        Self { origin: "default".into(), values: default_values() }
    }

    /// The settings in a file.
    pub(super) fn of_file(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::run(format!("settings file {} cannot be read: {error}", path.display()))
        })?;
        Self::of_toml(&format!("file {}", path.display()), &text)
    }

    fn of_toml(origin: &str, text: &str) -> Result<Self, Failure> {
        let mut table: toml::Table = text.parse().map_err(|error| not_toml(origin, text, &error))?;
        check_keys(origin, "", &table)?;
        let own: Vec<_> = OWN.iter().filter_map(|(key, _)| Some((*key, table.remove(*key)?))).collect();
        let mut values = Dict::from([("server".into(), plain(&table))]);
        values.extend(own.iter().map(|(key, value)| ((*key).to_owned(), plain(value))));
        Ok(Self { origin: origin.into(), values })
    }
}

/// The settings in the environment, RabbitMQ's variables before ours, which win.
pub(super) fn of_environment(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<Layer>, Failure> {
    let (mut of_rabbitmq, mut ours) = (Vec::new(), Vec::new());
    for (name, text) in environment {
        // A name that is not Unicode is none of ours.
        let Some(name) = name.to_str() else { continue };
        if let Some((_, key)) = OF_RABBITMQ.iter().find(|(variable, _)| *variable == name) {
            of_rabbitmq.push(of_variable(name, key, &text)?);
        } else if name.starts_with(PREFIX) && name != CONFIG_VARIABLE {
            ours.push(of_variable(name, key_of_variable(name)?, &text)?);
        }
    }
    of_rabbitmq.append(&mut ours);
    Ok(of_rabbitmq)
}

/// The settings on the command line.
pub(super) fn of_flags(flags: &Flags) -> impl Iterator<Item = Layer> {
    let given = flags.given.iter();
    given.map(|(setting, text)| Layer::of_one(format!("flag --{}", setting.flag()), setting.key, text))
}

fn of_variable(name: &str, key: &str, text: &OsString) -> Result<Layer, Failure> {
    let text = text.to_str().ok_or_else(|| Failure::usage(format!("environment {name}: not Unicode")))?;
    Ok(Layer::of_one(format!("environment {name}"), key, text))
}

fn key_of_variable(name: &str) -> Result<&'static str, Failure> {
    let known = SETTINGS.iter().find(|setting| setting.variable() == name);
    known.map(|setting| setting.key).ok_or_else(|| {
        let names = SETTINGS.iter().map(super::table::Setting::variable).chain([CONFIG_VARIABLE.into()]);
        unknown("environment", name, names)
    })
}

fn check_keys(origin: &str, section: &str, table: &toml::Table) -> Result<(), Failure> {
    for (name, value) in table {
        let key = format!("{section}{name}");
        let as_section = format!("{key}.");
        let is_section = SETTINGS.iter().any(|setting| setting.key.starts_with(&as_section));
        match value {
            toml::Value::Table(inner) if is_section => check_keys(origin, &as_section, inner)?,
            _ if is_section || SETTINGS.iter().any(|setting| setting.key == key) => {}
            _ => return Err(unknown(origin, &key, SETTINGS.iter().map(|setting| setting.key.to_owned()))),
        }
    }
    Ok(())
}

fn unknown(origin: &str, name: &str, known: impl Iterator<Item = String>) -> Failure {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default();
    Failure::usage(format!("{origin}: there is no setting `{name}`; did you mean `{nearest}`?"))
}

fn not_toml(origin: &str, text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Failure::usage(format!("{origin}, line {line}: {}", error.message()))
}

fn plain(value: &impl serde::Serialize) -> Value {
    // What was parsed from TOML always serialises.
    Value::serialize(value).unwrap_or_else(|_| Dict::new().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Layer, Failure>) -> String {
        result.err().expect("a refusal").to_string()
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let text = refusal(Layer::of_toml("file x", "ampq = \"off\""));
        assert_eq!(text, "file x: there is no setting `ampq`; did you mean `amqp`?");
        let text = refusal(Layer::of_toml("file x", "[tls]\ncret = \"x\""));
        assert_eq!(text, "file x: there is no setting `tls.cret`; did you mean `tls.cert`?");
        let text = refusal(key_of_variable("LEVERET_DATADIR").map(|_| Layer::of_defaults()));
        assert!(text.ends_with("did you mean `LEVERET_DATA_DIR`?"), "{text}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_told_with_its_line() {
        let text = refusal(Layer::of_toml("file x", "amqp = \"off\"\nheartbeat_s =\n"));
        assert!(text.starts_with("file x, line 2: "), "{text}");
    }
}
