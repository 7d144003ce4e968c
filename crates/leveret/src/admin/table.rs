//! Answers for people: a list as a table, an object as lines.

use std::io::Write;

use serde_json::Value;

use super::client::Client;
use super::options::Columns;
use crate::failure::Failure;
use crate::http_api::encoded;

/// Gets a list and prints it, with these columns where no others are asked for.
pub(super) fn list(client: &Client, path: &str, usual: &[&str], columns: &Columns) -> Result<(), Failure> {
    let mut query: Vec<String> = Vec::new();
    let shown: Vec<String> = match columns.columns.as_slice() {
        [] => usual.iter().map(|name| (*name).to_owned()).collect(),
        asked => asked.to_vec(),
    };
    if !client.json || !columns.columns.is_empty() {
        query.push(format!("columns={}", encoded(&shown.join(","))));
    }
    query.extend(columns.sort.as_ref().map(|sort| format!("sort={}", encoded(sort))));
    query.extend(columns.name.as_ref().map(|name| format!("name={}", encoded(name))));
    let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
    let rows = client.get(&path)?;
    // A list that is filtered by name may come as a page.
    let rows = rows.get("items").unwrap_or(&rows);
    print(client, rows, &shown)
}

/// Prints a list with these columns.
pub(super) fn print(client: &Client, rows: &Value, columns: &[String]) -> Result<(), Failure> {
    if client.json {
        return json(rows);
    }
    let mut table = vec![columns.to_vec()];
    for row in rows.as_array().into_iter().flatten() {
        table.push(columns.iter().map(|column| cell(at(row, column))).collect());
    }
    say(&aligned(&table))
}

/// Prints an object, a line for each field.
pub(super) fn object(client: &Client, object: &Value) -> Result<(), Failure> {
    if client.json {
        return json(object);
    }
    let fields = object.as_object().into_iter().flatten();
    let table: Vec<Vec<String>> = fields.map(|(name, value)| vec![name.clone(), cell(value)]).collect();
    say(&aligned(&table))
}

fn json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value:#}\n"))
}

/// Prints text. Whoever closed stdout does not want to know.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let _closed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    Ok(())
}

pub(super) fn at<'a>(row: &'a Value, path: &str) -> &'a Value {
    // Arguments have dots in their names only in objects, which are shown whole.
    path.split('.').fold(row, |value, part| &value[part])
}

pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            one_line(&items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// On one line, and harmless to a terminal: what others have put into a message must not move its cursor.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}

/// Columns of equal width, the first row being the head.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let line: String =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ", width = *width)).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["name".into(), "n".into()], vec!["a queue".into(), "12".into()]];
        assert_eq!(aligned(&rows), "name     n\na queue  12\n");
    }

    #[test]
    fn cells_are_one_line() {
        assert_eq!(cell(&json!("a\nb")), "a b");
        assert_eq!(cell(&json!("\u{1b}[2Jred\u{7}\u{9b}1m")), "\\u{1b}[2Jred\\u{7}\\u{9b}1m");
        assert_eq!(cell(&json!(["a", "b"])), "a,b");
        assert_eq!(cell(at(&json!({"a": {"b": 1}}), "a.b")), "1");
        assert_eq!(cell(at(&json!({}), "a.b")), "");
    }
}
