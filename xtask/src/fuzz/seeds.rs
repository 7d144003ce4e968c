//! What a target begins with: a few inputs that are right, since it is hard to come upon those by chance; where every
//! input means something, any bytes.

use std::fs;
use std::path::Path;

use anyhow::Result;
use leveret_amqp::{
    ContentHeader, FieldTable, Properties, Table, Value, basic, connection, queue, write_body_frames,
    write_heartbeat, write_method,
};

/// Inputs of any bytes, and their lengths.
const RANDOM: usize = 24;
const LENGTHS: [usize; 4] = [20, 60, 200, 600];

/// Writes the seeds of a target into the folder of its corpus.
pub(super) fn sow(target: &str, corpus: &Path) -> Result<()> {
    for (number, seed) in seeds(target)?.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

fn seeds(target: &str) -> Result<Vec<Vec<u8>>> {
    Ok(match target {
        "codec" => frames()?,
        "definitions" => DEFINITIONS.iter().map(|text| [&[0; 7], text.as_bytes()].concat()).collect(),
        "http" => REQUESTS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        _ => (0..RANDOM).map(random).collect(),
    })
}

/// The same bytes for a number every time.
fn random(number: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let mut bytes = vec![0; LENGTHS[number % LENGTHS.len()]];
    random.fill(&mut bytes);
    bytes
}

/// Frames of all kinds, with tables and properties in them, and these by themselves.
fn frames() -> Result<Vec<Vec<u8>>> {
    let inner = FieldTable(vec![("count".into(), Value::I64(1)), ("queue".into(), "q".into())]);
    let table = FieldTable(vec![
        ("x-death".into(), Value::Array(vec![Value::Table(inner), Value::Decimal(2, 7)])),
        ("x-delay".into(), Value::I32(1500)),
    ]);
    let table = table.encode();
    let arguments = Table::parse(&table)?;
    let properties = Properties {
        headers: Some(arguments),
        content_type: Some("text/plain"),
        timestamp: Some(1),
        ..Properties::default()
    };
    let properties = properties.encode();
    let mut said = Vec::new();
    let start_ok = connection::StartOk {
        client_properties: arguments,
        mechanism: "PLAIN",
        response: b"\0g\0g",
        locale: "en_US",
    };
    write_method(0, start_ok, &mut said);
    let publish =
        basic::Publish { ticket: 0, exchange: "e", routing_key: "k", mandatory: true, immediate: false };
    write_method(1, publish, &mut said);
    ContentHeader { body_size: 50, properties: &properties }.write_frame(1, &mut said);
    write_body_frames(1, &[7; 50], 30, &mut said);
    let bind =
        queue::Bind { ticket: 0, queue: "q", exchange: "e", routing_key: "k", no_wait: false, arguments };
    write_method(2, bind, &mut said);
    write_heartbeat(&mut said);
    Ok(vec![said, table, properties])
}

const DEFINITIONS: [&str; 4] = [
    r#"{"vhosts":[{"name":"v"}],"queues":[{"name":"q","vhost":"v","durable":true,"auto_delete":false,"arguments":{"x-max-length":1}}]}"#,
    r#"{"users":[{"name":"u","password_hash":"","tags":"administrator"}],"permissions":[]}"#,
    r#"["a",1,-1.5,null,true]"#,
    r#""(""#,
];

/// Requests of the target `http`: method and path, then the body, then an empty line.
const REQUESTS: [&str; 6] = [
    "PUT /api/queues/%2F/q\n{\"durable\":true,\"arguments\":{\"x-max-priority\":5}}\n\nPOST /api/exchanges/%2F/amq.default/publish\n{\"properties\":{\"headers\":{\"a\":[1,{\"b\":null}]}},\"routing_key\":\"q\",\"payload\":\"hello\",\"payload_encoding\":\"string\"}\n\nPOST /api/queues/%2F/q/get\n{\"count\":5,\"ackmode\":\"ack_requeue_true\",\"encoding\":\"auto\"}\n\nGET /api/queues?page=1&page_size=10&sort=name&columns=name,messages\n",
    "PUT /api/exchanges/%2F/x\n{\"type\":\"x-delayed-message\",\"durable\":true,\"arguments\":{\"x-delayed-type\":\"topic\"}}\n\nPOST /api/bindings/%2F/e/x/q/q\n{\"routing_key\":\"a.*\",\"arguments\":{}}\n\nPOST /api/exchanges/%2F/x/publish\n{\"properties\":{\"headers\":{\"x-delay\":100000}},\"routing_key\":\"a.b\",\"payload\":\"\",\"payload_encoding\":\"base64\"}\n\nGET /api/delayed/%2F/x\n",
    "PUT /api/policies/%2F/p\n{\"pattern\":\"^q\",\"definition\":{\"max-length\":1,\"overflow\":\"reject-publish\"},\"priority\":1,\"apply-to\":\"queues\"}\n\nPUT /api/operator-policies/%2F/p\n{\"pattern\":\".*\",\"definition\":{\"expires\":1000}}\n\nGET /api/policies\n",
    "PUT /api/users/u\n{\"password_hash\":\"\",\"tags\":\"monitoring\"}\n\nPUT /api/permissions/%2F/u\n{\"configure\":\".*\",\"write\":\"\",\"read\":\"^a\"}\n\nPUT /api/vhosts/v\n{\"description\":\"d\",\"tags\":\"t\"}\n\nPUT /api/vhost-limits/v/max-queues\n{\"value\":1}\n\nGET /api/whoami\n",
    "GET /api/definitions\n\n\nPOST /api/definitions\n{\"queues\":[{\"name\":\"q\",\"vhost\":\"/\",\"durable\":true,\"auto_delete\":false,\"arguments\":{}}]}\n\nGET /api/overview?lengths_age=60&lengths_incr=5\n\n\nGET /api/openapi.json\n",
    "DELETE /api/queues/%2F/q?if-empty=true\n\n\nDELETE /api/queues/%2F/q/contents\n\n\nGET /api/health/checks/alarms\n\n\nPUT /api/global-parameters/g\n{\"value\":{}}\n\nGET /api/connections\n",
];
