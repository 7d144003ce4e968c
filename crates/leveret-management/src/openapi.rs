//! The description of the API, made from the routes themselves, so that none is missing.

use axum::Json;
use serde_json::{Map, Value, json};

use crate::api::{self, Route};

/// Serves the description.
pub(crate) async fn show() -> Json<Value> {
    Json(document(&api::routes()))
}

fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret management",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "RabbitMQ's management API as Leveret serves it, and what Leveret has beside.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/api" }],
        "security": [{ "basic": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "basic": { "type": "http", "scheme": "basic" } },
            "schemas": { "Refusal": {
                "type": "object",
                "properties": { "error": { "type": "string" }, "reason": { "type": "string" } },
            } },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "responses": responses(route),
    });
    let mut parameters: Vec<Value> = in_path(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if is_list(route) {
        parameters.extend(LISTING.iter().map(|(name, kind, description)| {
            json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
        }));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if matches!(route.method.as_str(), "PUT" | "POST") {
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
    }
    operation
}

const LISTING: [(&str, &str, &str); 7] = [
    ("page", "integer", "Which page, from 1; without it the whole list comes"),
    ("page_size", "integer", "Items on a page, 100 unless told, at most 500"),
    ("name", "string", "Only items whose name has this in it"),
    ("use_regex", "boolean", "`name` is a regular expression"),
    ("sort", "string", "The column to sort by, dots reaching into objects"),
    ("sort_reverse", "boolean", "The last first"),
    ("columns", "string", "Only these columns, with commas between"),
];

fn is_list(route: &Route) -> bool {
    let plural =
        |path: &str| path.rsplit('/').find(|part| !part.starts_with('{')).is_some_and(|it| it.ends_with('s'));
    route.method == "GET" && plural(route.path) && !route.path.starts_with("/health")
}

fn responses(route: &Route) -> Value {
    let refusal = |description: &str| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
        })
    };
    let well = match route.method.as_str() {
        "PUT" => {
            json!({ "201": { "description": "Made" }, "204": { "description": "There already, or changed" } })
        }
        "DELETE" => json!({ "204": { "description": "Gone" } }),
        _ => json!({ "200": { "description": "The answer", "content": { "application/json": {} } } }),
    };
    let mut responses = well;
    responses["400"] = refusal("The request is wrong; the reason names the field");
    responses["401"] = refusal("Nobody has logged in, or the user may not");
    if route.path.contains('{') {
        responses["404"] = refusal("There is no such object");
    }
    responses
}

fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(route: &Route) -> String {
    let parts = route.path.split(['/', '{', '}', '-', '.']).filter(|part| !part.is_empty());
    format!("{}_{}", route.method.as_str().to_lowercase(), parts.collect::<Vec<_>>().join("_"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_once() {
        let routes = api::routes();
        let document = document(&routes);
        let mut ids = BTreeSet::new();
        for route in &routes {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert!(operation["summary"].as_str().is_some_and(|it| !it.is_empty()), "{}", route.path);
            assert!(ids.insert(operation["operationId"].to_string()), "{} {}", route.method, route.path);
        }
        let described: usize = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|path| path.as_object().expect("operations").len())
            .sum();
        assert_eq!(described, routes.len());
    }
}
