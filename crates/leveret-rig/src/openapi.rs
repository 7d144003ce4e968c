//! Asks a system everything that its OpenAPI document names, with good values, bad ones and nonsense. Whatever comes,
//! the answer is no failure of the server's, and an error is a problem in RFC 9457's form.

use std::time::Duration;

use leveret_web::client::Client;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

/// An operation of the document.
#[derive(Clone, Debug)]
struct Operation {
    method: String,
    path: String,
    fields: Vec<String>,
}

/// A request that somebody might send.
#[derive(Clone, Debug)]
struct Case {
    operation: Operation,
    path: String,
    content_type: String,
    key: Option<String>,
    body: Vec<u8>,
}

/// Sends `cases` requests to the system at `base`. To be called in a runtime of several threads.
pub async fn withstands_anything(base: &str, cases: u32) {
    let base = base.trim_end_matches('/').to_owned();
    let document = Client::new(Duration::from_secs(10)).get(&format!("{base}/openapi.json")).await.unwrap();
    let operations = operations(&document.json().unwrap());
    assert!(operations.len() > 8, "{operations:?}");
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || run(&handle, &base, operations, cases)).await.unwrap();
}

fn run(handle: &Handle, base: &str, operations: Vec<Operation>, cases: u32) {
    let client = Client::new(Duration::from_secs(30));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&any_case(operations), |case| {
        handle.block_on(check(&client, base, &case)).map_err(TestCaseError::fail)
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

async fn check(client: &Client, base: &str, case: &Case) -> Result<(), String> {
    let url = format!("{base}{}", case.path);
    let mut headers = vec![("content-type", case.content_type.as_str())];
    headers.extend(case.key.as_deref().map(|key| ("idempotency-key", key)));
    let method = case.operation.method.as_str();
    let answer = client.ask(method.parse().unwrap(), &url, &headers, case.body.clone()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status.is_server_error() {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    if answer.status.is_client_error() {
        let problem: Value = answer.json().map_err(|error| format!("{error}: {}", answer.text()))?;
        let is_right = problem["status"] == answer.status.as_u16()
            && problem["title"].is_string()
            && problem["detail"].is_string();
        return if is_right { Ok(()) } else { Err(format!("no problem in RFC 9457's form: {problem}")) };
    }
    Ok(())
}

/// All but streams, which have no end.
fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if !operation["responses"]["200"]["content"]["text/event-stream"].is_null() {
                continue;
            }
            let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
            let schemas = content.filter_map(|(_, content)| content["schema"]["properties"].as_object());
            let fields = schemas.flat_map(Map::keys).cloned().collect();
            found.push(Operation { method: method.to_uppercase(), path: path.clone(), fields });
        }
    }
    found
}

fn any_case(operations: Vec<Operation>) -> impl Strategy<Value = Case> {
    select(operations).prop_flat_map(|operation| {
        let types =
            ["application/json", "application/json", "application/x-www-form-urlencoded", "text/plain", "李"];
        let key = prop::option::weighted(0.3, "[a-z]{1,3}|[ -~]{0,220}");
        let parts = (any_text(), select(types.to_vec()), key, any_body(operation.fields.clone()));
        parts.prop_map(move |(part, content_type, key, body)| Case {
            path: fill(&operation.path, &part),
            content_type: content_type.to_owned(),
            operation: operation.clone(),
            key,
            body,
        })
    })
}

/// A path with its parameters filled in.
fn fill(path: &str, part: &str) -> String {
    let part = leveret_web::page::path_part(part);
    let segments =
        path.split('/').map(|segment| if segment.starts_with('{') { part.as_str() } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn any_text() -> impl Strategy<Value = String> {
    let nasty = [
        "",
        "0",
        "-1",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "1e400",
        "NaN",
        "null",
        "../../etc/passwd",
        "'; DROP TABLE users; --",
        "\" OR \"1\"=\"1",
        "%00",
        "\u{0}",
        "\u{202e}",
        "李雷",
        "👩‍👩‍👧‍👧",
        "a@example.org",
    ];
    prop_oneof![
        2 => select(nasty.to_vec()).prop_map(str::to_owned),
        1 => ".{0,40}",
        1 => (1..3000usize).prop_map(|length| "n".repeat(length)),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any_text().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        2 => (-3..1000i64).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => select(vec![json!(null), json!(true), json!([]), json!({}), json!([[[[1]]]])]),
    ]
}

fn any_body(fields: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    let count = fields.len();
    let object =
        prop::collection::vec(prop::option::weighted(0.9, any_value()), count).prop_map(move |values| {
            let present = fields.iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?)));
            Value::Object(present.collect()).to_string().into_bytes()
        });
    prop_oneof![
        8 => object,
        1 => any_value().prop_map(|value| value.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => any_text().prop_map(|text| format!("tid={text}").into_bytes()),
    ]
}
