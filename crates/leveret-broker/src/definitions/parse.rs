//! Definitions from JSON of any version of RabbitMQ since 3.5. What is wrong is named with its place.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Definitions, RABBITMQ_VERSION, VhostDefinition};
use crate::{Error, HashAlgorithm, PasswordHash, User, UserLimits, VhostSettings, parsed};

/// Arguments: an object; RabbitMQ has written `[]` for none.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Object(arguments) => Ok(arguments),
        Value::Null => Ok(Map::new()),
        Value::Array(none) if none.is_empty() => Ok(Map::new()),
        other => Err(serde::de::Error::custom(format!("arguments: expected an object, got {other}"))),
    }
}

impl Definitions {
    /// Reads definitions of a whole broker. What has been read of the JSON is freed on the way.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the place and what is wrong there.
    pub fn from_json(json: Value) -> Result<Self, Error> {
        let version = json["rabbitmq_version"].as_str().or(json["rabbit_version"].as_str());
        let version = &version.unwrap_or(RABBITMQ_VERSION).to_owned();
        let mut source = Source { json: into_object(json)?, vhost: None };
        Ok(Self {
            users: source.items("users", |item| user(item, version))?,
            vhosts: source.items("vhosts", vhost)?,
            permissions: source.parsed("permissions")?,
            topic_permissions: source.parsed("topic_permissions")?,
            global_parameters: source.parsed("global_parameters")?,
            ..Self::of_vhosts(source)?
        })
    }

    /// Reads definitions of a virtual host, to be declared in the one of that name.
    ///
    /// # Errors
    /// As [`Definitions::from_json`].
    pub fn from_vhost_json(json: Value, vhost: &str) -> Result<Self, Error> {
        Self::of_vhosts(Source { json: into_object(json)?, vhost: Some(vhost) })
    }

    fn of_vhosts(mut source: Source<'_>) -> Result<Self, Error> {
        Ok(Self {
            parameters: source.parsed("parameters")?,
            policies: source.parsed("policies")?,
            queues: source.parsed("queues")?,
            exchanges: source.parsed("exchanges")?,
            bindings: source.parsed("bindings")?,
            ..Self::empty()
        })
    }
}

fn into_object(json: Value) -> Result<Map<String, Value>, Error> {
    match json {
        Value::Object(object) => Ok(object),
        _ => Err(Error::precondition("definitions: expected an object")),
    }
}

struct Source<'a> {
    json: Map<String, Value>,
    /// The virtual host that everything is for.
    vhost: Option<&'a str>,
}

impl Source<'_> {
    fn parsed<T: DeserializeOwned>(&mut self, list: &str) -> Result<Vec<T>, Error> {
        self.items(list, parsed)
    }

    fn items<T>(&mut self, list: &str, parse: impl Fn(Value) -> Result<T, String>) -> Result<Vec<T>, Error> {
        let items = match self.json.remove(list) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(Error::precondition(format!("{list}: expected an array"))),
        };
        let parse = |(at, mut item): (usize, Value)| {
            if let (Some(vhost), Some(fields)) = (self.vhost, item.as_object_mut()) {
                fields.insert("vhost".into(), vhost.into());
            }
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            parse(item).map_err(|wrong| Error::precondition(format!("{list}[{at}] '{name}': {wrong}")))
        };
        items.into_iter().enumerate().map(parse).collect()
    }
}

fn vhost(item: Value) -> Result<VhostDefinition, String> {
    let name = item["name"].as_str().ok_or("name: expected a string")?.to_owned();
    let metadata = item.get("metadata").filter(|it| it.is_object()).cloned();
    let settings = |json: Value| serde_json::from_value::<VhostSettings>(json).map_err(|it| it.to_string());
    let mut merged = settings(metadata.unwrap_or_else(|| Value::Object(Map::new())))?;
    let own = settings(without_null(item))?;
    if !own.description.is_empty() {
        merged.description = own.description;
    }
    if !own.tags.is_empty() {
        merged.tags = own.tags;
    }
    merged.default_queue_type = own.default_queue_type.or(merged.default_queue_type);
    merged.tracing |= own.tracing;
    merged.protected_from_deletion |= own.protected_from_deletion;
    merged.check().map_err(|error| error.text)?;
    Ok(VhostDefinition { name, metadata: merged.clone(), settings: merged })
}

fn without_null(mut json: Value) -> Value {
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    json
}

/// Tags are a list, or text with commas; the password a hash, or the password itself.
fn user(item: Value, version: &str) -> Result<User, String> {
    let name = item["name"].as_str().ok_or("name: expected a string")?.to_owned();
    let tags = match &item["tags"] {
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).map(Into::into).collect(),
        Value::String(tags) => {
            tags.split(',').map(str::trim).filter(|it| !it.is_empty()).map(Into::into).collect()
        }
        Value::Null => Vec::new(),
        other => return Err(format!("tags: {other} is no list of tags")),
    };
    let limits = match &item["limits"] {
        Value::Null => UserLimits::default(),
        Value::Array(none) if none.is_empty() => UserLimits::default(),
        limits => UserLimits::from_json(limits).map_err(|error| error.text)?,
    };
    let password = match (&item["password_hash"], &item["password"]) {
        (Value::String(hash), _) => {
            PasswordHash::imported(hash, algorithm(&item, version)?).map_err(|error| error.text)?
        }
        (_, Value::String(password)) => PasswordHash::of(password).map_err(|error| error.text)?,
        _ => PasswordHash::default(),
    };
    Ok(User { name, password, tags, limits })
}

fn algorithm(item: &Value, version: &str) -> Result<HashAlgorithm, String> {
    match &item["hashing_algorithm"] {
        // Before 3.6 it was not written, being MD5 always.
        Value::Null if version.starts_with("3.5") || version.starts_with("3.4") => Ok(HashAlgorithm::Md5),
        Value::Null => Ok(HashAlgorithm::default()),
        name => {
            serde_json::from_value(name.clone()).map_err(|_| format!("hashing_algorithm: {name} is unknown"))
        }
    }
}
