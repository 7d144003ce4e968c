//! The columns of a list: only what is wanted of an object is ever found out.

use serde_json::{Map, Value, json};

use crate::parameters::Parameters;

/// The columns that are wanted: paths of names with dots between them. None means all.
#[derive(Clone, Default)]
pub(crate) struct Columns(Option<Vec<String>>);

impl Columns {
    pub(crate) fn from(parameters: &Parameters) -> Self {
        let names = parameters.text("columns").filter(|columns| !columns.is_empty());
        Self(names.map(|columns| columns.split(',').map(|name| name.trim().to_owned()).collect()))
    }

    /// One of them.
    pub(crate) fn one(name: &str) -> Self {
        Self(Some(vec![name.into()]))
    }

    /// Whether anything of that field is wanted.
    fn want(&self, field: &str) -> bool {
        self.0.as_ref().is_none_or(|paths| paths.iter().any(|path| path.split('.').next() == Some(field)))
    }

    /// An object of the columns that are wanted.
    pub(crate) fn object(&self, fill: impl FnOnce(&mut Fields<'_>)) -> Value {
        let mut fields = Fields { columns: self, object: Map::new() };
        fill(&mut fields);
        let object = Value::Object(fields.object);
        match &self.0 {
            Some(paths) if paths.iter().any(|path| path.contains('.')) => only(&object, paths),
            _ => object,
        }
    }
}

/// Only what the paths name.
fn only(object: &Value, paths: &[String]) -> Value {
    let mut kept = json!({});
    for path in paths {
        let Some(value) = at(object, path) else { continue };
        let mut place = &mut kept;
        for part in path.split('.') {
            place = &mut place[part];
        }
        *place = value.clone();
    }
    kept
}

/// What stands there in an object.
pub(crate) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |object, part| object.get(part))
}

/// An object that is being made: a field that nobody wants is not computed.
pub(crate) struct Fields<'a> {
    columns: &'a Columns,
    object: Map<String, Value>,
}

impl Fields<'_> {
    /// Adds a field.
    pub(crate) fn put<V: Into<Value>>(&mut self, name: &str, value: impl FnOnce() -> V) {
        if self.columns.want(name) {
            self.object.insert(name.into(), value().into());
        }
    }

    /// Adds the fields of an object that is there already.
    pub(crate) fn put_all(&mut self, fields: Map<String, Value>) {
        let wanted = fields.into_iter().filter(|(name, _)| self.columns.want(name));
        self.object.extend(wanted);
    }

    /// Whether any of these fields is wanted.
    pub(crate) fn want(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.columns.want(name))
    }
}
