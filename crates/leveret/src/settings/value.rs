//! Values of settings: their defaults, how text from a flag or the environment becomes a value of the setting's
//! type, and how a value is written in a settings file.

use std::sync::LazyLock;

use figment::value::{Dict, Value};
use leveret_server::{Config, Tls};

use super::{OWN, path_of};

/// The defaults, with an empty value for what is not set.
static DEFAULTS: LazyLock<Dict> = LazyLock::new(|| defaults(Config::default()));

/// The defaults as though every section were there, for the types in it.
static SHAPES: LazyLock<Dict> =
    LazyLock::new(|| defaults(Config { tls: Some(Tls::default()), ..Config::default() }));

fn defaults(config: Config) -> Dict {
    // Settings are plain data, which always serialises.
    let server = Value::serialize(config).unwrap_or_else(|_| Dict::new().into());
    let own = OWN.map(|(key, default)| (key.to_owned(), Value::from(default)));
    own.into_iter().chain([("server".to_owned(), server)]).collect()
}

pub(super) fn default_values() -> Dict {
    DEFAULTS.clone()
}

/// The value that `text` means for the setting. What is no value of its type stays text, and is refused with
/// all others of a wrong type.
pub(super) fn from_text(key: &str, text: &str) -> Value {
    match shape(key) {
        Some(Value::Num(..)) => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Some(Value::Array(..)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(Value::from).collect::<Vec<_>>().into()
        }
        _ => text.into(),
    }
}

/// The default as the help shows it.
pub(super) fn default_text(key: &str) -> Option<String> {
    let text = match Value::from(default_values()).find(&path_of(key))? {
        Value::Array(_, items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Value::String(_, text) => text,
        value => value.to_num()?.to_u128()?.to_string(),
    };
    Some(text)
}

/// The value as it stands in a settings file; `None` for one that is not set.
pub(super) fn to_toml(value: &Value) -> Option<String> {
    if matches!(value, Value::Empty(..)) {
        return None;
    }
    toml::Value::try_from(value).ok().map(|value| value.to_string())
}

fn shape(key: &str) -> Option<Value> {
    Value::from(SHAPES.clone()).find(&path_of(key))
}

#[cfg(test)]
mod tests {
    use super::super::table::SETTINGS;
    use super::*;

    #[test]
    fn every_setting_of_the_server_can_be_given() {
        let mut keys = Vec::new();
        for (name, value) in SHAPES["server"].as_dict().unwrap() {
            match value.as_dict() {
                Some(section) => keys.extend(section.keys().map(|inner| format!("{name}.{inner}"))),
                None => keys.push(name.clone()),
            }
        }
        keys.extend(OWN.map(|(key, _)| key.to_owned()));
        let mut known: Vec<_> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
        known.sort();
        keys.sort();
        assert_eq!(known, keys);
    }

    #[test]
    fn text_becomes_what_the_setting_takes() {
        assert_eq!(from_text("heartbeat_s", "30").to_num().unwrap().to_u128(), Some(30));
        assert_eq!(from_text("default_pass", "123").as_str(), Some("123"));
        assert_eq!(from_text("loopback_users", "a, b").as_array().unwrap().len(), 2);
        assert_eq!(from_text("loopback_users", "").as_array().unwrap().len(), 0);
        assert_eq!(from_text("heartbeat_s", "soon").as_str(), Some("soon"));
    }
}
