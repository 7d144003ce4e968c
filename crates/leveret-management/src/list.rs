//! Lists: filtered by name, sorted, cut into pages and reduced to columns, as RabbitMQ does it. Of a long list only
//! what is shown is ever made into JSON.

use std::cmp::Ordering;
use std::ops::Range;

use axum::Json;
use axum::response::{IntoResponse, Response};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::parameters::Parameters;

const PAGE_SIZE: usize = 100;
const LARGEST_PAGE: usize = 500;
/// Bytes that a regular expression may compile to.
const PATTERN_BYTES: usize = 1 << 20;

/// What is asked of a list.
pub(crate) struct Listing {
    page: Option<(usize, usize)>,
    name: Option<Name>,
    sort: Option<String>,
    reverse: bool,
    columns: Columns,
}

enum Name {
    Contains(String),
    Matches(Box<Regex>),
}

impl Name {
    fn accepts(&self, name: &str) -> bool {
        match self {
            Self::Contains(part) => contains_ignoring_case(name, part),
            Self::Matches(regex) => regex.is_match(name),
        }
    }
}

fn contains_ignoring_case(name: &str, part: &str) -> bool {
    if part.is_empty() {
        return true;
    }
    if name.is_ascii() && part.is_ascii() {
        let mut windows = name.as_bytes().windows(part.len());
        return windows.any(|window| window.eq_ignore_ascii_case(part.as_bytes()));
    }
    name.to_lowercase().contains(&part.to_lowercase())
}

/// The columns that are wanted: paths of names with dots between them. None means all.
#[derive(Clone, Default)]
pub(crate) struct Columns(Option<Vec<String>>);

impl Columns {
    pub(crate) fn from(parameters: &Parameters) -> Self {
        let names = parameters.text("columns").filter(|columns| !columns.is_empty());
        Self(names.map(|columns| columns.split(',').map(|name| name.trim().to_owned()).collect()))
    }

    fn one(name: &str) -> Self {
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

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
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

impl Listing {
    pub(crate) fn from(parameters: &Parameters) -> Result<Self, Refusal> {
        let invalid = || Refusal::bad("Pagination parameters are invalid");
        let number = |name: &str| match parameters.text(name) {
            None | Some("") => Ok(None),
            Some(text) => text.parse::<usize>().map(Some).map_err(|_| invalid()),
        };
        let page = match (number("page")?, number("page_size")?) {
            (None, _) => None,
            (Some(page), size) => Some((page, size.unwrap_or(PAGE_SIZE))),
        };
        if let Some((page, size)) = page
            && (page == 0 || size == 0 || size > LARGEST_PAGE)
        {
            let reason = format!("Invalid pagination parameters: page number {page}, page size {size}");
            return Err(Refusal::Page("invalid_pagination_parameters", reason));
        }
        let name = match parameters.text("name").filter(|name| !name.is_empty()) {
            Some(name) if parameters.flag("use_regex") => {
                let regex = RegexBuilder::new(name).size_limit(PATTERN_BYTES).case_insensitive(true).build();
                Some(Name::Matches(Box::new(regex.map_err(|_| invalid())?)))
            }
            name => name.map(|name| Name::Contains(name.into())),
        };
        Ok(Self {
            page,
            name,
            sort: parameters.text("sort").filter(|sort| !sort.is_empty()).map(Into::into),
            reverse: parameters.flag("sort_reverse"),
            columns: Columns::from(parameters),
        })
    }

    /// The list as it is answered, sorted where a column is asked for by what the rows show there.
    pub(crate) fn respond<T>(
        &self,
        items: Vec<T>,
        key: impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Result<Response, Refusal> {
        self.respond_with(items, key, |_, _| None, render)
    }

    /// The list as it is answered. `key` tells an item's virtual host and name, by which it is sorted unless something
    /// else is asked for; `column` tells what an item is sorted by in a column where that is known without making it into
    /// JSON.
    pub(crate) fn respond_with<T>(
        &self,
        mut items: Vec<T>,
        key: impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        column: impl Fn(&T, &str) -> Option<Value>,
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Result<Response, Refusal> {
        let total = items.len();
        if let Some(name) = &self.name {
            items.retain(|item| name.accepts(key(item).1));
        }
        let filtered = items.len();
        let range = self.range(filtered)?;
        let items = match &self.sort {
            None => {
                let order =
                    |a: &T, b: &T| if self.reverse { key(b).cmp(&key(a)) } else { key(a).cmp(&key(b)) };
                cut(items, range, order)
            }
            Some(path) => {
                let shown = Columns::one(path);
                let value = |item: &T| {
                    let object = || shown.object(|fields| render(item, fields));
                    column(item, path).unwrap_or_else(|| at(&object(), path).cloned().unwrap_or_default())
                };
                self.sorted(items, range, &key, value)
            }
        };
        Ok(self.answer(&items, (total, filtered), render))
    }

    /// Whether the list is asked for in the order of its names, and as it is.
    pub(crate) fn is_by_name(&self) -> bool {
        self.name.is_none() && self.sort.as_deref().is_none_or(|sort| sort == "name")
    }

    /// A list that is kept in the order of its names where it lives: `page` finds what stands in a range of it, so that a
    /// page costs no more than its rows.
    pub(crate) fn respond_in_order<T>(
        &self,
        total: usize,
        page: impl FnOnce(Range<usize>) -> Vec<T>,
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Result<Response, Refusal> {
        let range = self.range(total)?;
        let items = if self.reverse {
            let mut items = page(total - range.end..total - range.start);
            items.reverse();
            items
        } else {
            page(range)
        };
        Ok(self.answer(&items, (total, total), render))
    }

    /// The rows that are shown, and how many there are in all and of that name.
    fn answer<T>(
        &self,
        items: &[T],
        (total, filtered): (usize, usize),
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Response {
        let rows: Vec<Value> =
            items.iter().map(|item| self.columns.object(|fields| render(item, fields))).collect();
        let Some((page, size)) = self.page else { return Json(rows).into_response() };
        Json(json!({
            "filtered_count": filtered,
            "item_count": rows.len(),
            "items": rows,
            "page": page,
            "page_count": filtered.div_ceil(size).max(1),
            "page_size": size,
            "total_count": total,
        }))
        .into_response()
    }

    fn range(&self, len: usize) -> Result<Range<usize>, Refusal> {
        let Some((page, size)) = self.page else { return Ok(0..len) };
        let start = (page - 1).saturating_mul(size);
        if start >= len && page > 1 {
            let reason = format!("Page out of range, page: {page} page size: {size}, len: {len}");
            return Err(Refusal::Page("page_out_of_range", reason));
        }
        Ok(start..start.saturating_add(size).min(len))
    }

    /// Sorted by one column, which is all that is found out about the items that are not shown.
    fn sorted<T>(
        &self,
        items: Vec<T>,
        range: Range<usize>,
        key: &impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        value: impl Fn(&T) -> Value,
    ) -> Vec<T> {
        let items: Vec<(Value, T)> = items.into_iter().map(|item| (value(&item), item)).collect();
        let order = |(a, x): &(Value, T), (b, y): &(Value, T)| {
            let by_value = if self.reverse { compare(b, a) } else { compare(a, b) };
            by_value.then_with(|| key(x).cmp(&key(y)))
        };
        cut(items, range, order).into_iter().map(|(_, item)| item).collect()
    }
}

/// The items of that range of the sorted list, without sorting the others. Equal ones keep their order, so that all pages
/// together are the list.
fn cut<T>(items: Vec<T>, range: Range<usize>, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = |a: &(usize, T), b: &(usize, T)| order(&a.1, &b.1).then(a.0.cmp(&b.0));
    let mut items: Vec<_> = items.into_iter().enumerate().collect();
    if range.end < items.len() {
        items.select_nth_unstable_by(range.end, &order);
        items.truncate(range.end);
    }
    if range.start > 0 && range.start < items.len() {
        items.select_nth_unstable_by(range.start, &order);
    }
    items.drain(..range.start.min(items.len()));
    items.sort_unstable_by(order);
    items.into_iter().map(|(_, item)| item).collect()
}

/// Numbers before texts, nothing before both.
fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(query: &str) -> Listing {
        Listing::from(&Parameters::parse(query)).expect("a listing")
    }

    async fn answer(query: &str, items: &[(&'static str, u64)]) -> Value {
        let response = listing(query)
            .respond(
                items.to_vec(),
                |item| ("/", item.0),
                |item, fields| {
                    fields.put("name", || item.0);
                    fields.put("stats", || json!({ "size": item.1, "other": 1 }));
                },
            )
            .expect("a list");
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    const ITEMS: [(&str, u64); 3] = [("b", 30), ("a", 4), ("ab", 200)];

    #[tokio::test]
    async fn lists_are_sorted_by_name_or_any_column() {
        let names = |value: &Value| {
            value.as_array().expect("rows").iter().map(|row| row["name"].to_string()).collect::<String>()
        };
        assert_eq!(names(&answer("", &ITEMS).await), "\"a\"\"ab\"\"b\"");
        assert_eq!(names(&answer("sort=stats.size", &ITEMS).await), "\"a\"\"b\"\"ab\"");
        assert_eq!(names(&answer("sort=stats.size&sort_reverse=true", &ITEMS).await), "\"ab\"\"b\"\"a\"");
    }

    #[tokio::test]
    async fn pages_tell_how_much_there_is() {
        let page = answer("page=2&page_size=1&name=A&columns=name", &ITEMS).await;
        let expected = json!({
            "filtered_count": 2, "item_count": 1, "items": [{"name": "ab"}], "page": 2, "page_count": 2, "page_size": 1,
            "total_count": 3,
        });
        assert_eq!(page, expected);
    }

    #[tokio::test]
    async fn a_list_in_order_is_cut_where_it_lives() {
        let names = ["a", "b", "c", "d", "e"];
        let page = async |query: &str| {
            let listing = listing(query);
            assert!(listing.is_by_name(), "{query}");
            let response = listing.respond_in_order(
                names.len(),
                |range| names[range].to_vec(),
                |name, fields| fields.put("name", || *name),
            );
            let body = response.expect("a list").into_body();
            let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
            let rows: Value = serde_json::from_slice(&bytes).expect("JSON");
            let items = rows.get("items").unwrap_or(&rows).as_array().cloned().unwrap_or_default();
            items.iter().filter_map(|row| row["name"].as_str()).collect::<String>()
        };
        assert_eq!(page("").await, "abcde");
        assert_eq!(page("page=2&page_size=2&sort=name").await, "cd");
        assert_eq!(page("page=3&page_size=2").await, "e");
        assert_eq!(page("page=1&page_size=2&sort_reverse=true").await, "ed");
        assert_eq!(page("page=3&page_size=2&sort_reverse=true").await, "a");
        assert!(!listing("name=a").is_by_name() && !listing("sort=stats.size").is_by_name());
    }

    #[tokio::test]
    async fn all_pages_together_are_the_list() {
        let items: Vec<_> = (0..1000).map(|number| ("same", number)).collect();
        for sort in ["", "&sort=name", "&sort=name&sort_reverse=true"] {
            let mut seen = Vec::new();
            for page in 1..=34 {
                let rows = answer(&format!("page={page}&page_size=30{sort}"), &items).await;
                let sizes =
                    rows["items"].as_array().expect("rows").iter().map(|row| row["stats"]["size"].as_u64());
                seen.extend(sizes.map(|size| size.expect("a number")));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).collect::<Vec<_>>(), "{sort}");
        }
    }

    #[tokio::test]
    async fn columns_reach_into_objects() {
        assert_eq!(
            answer("columns=stats.size&name=^b$&use_regex=true", &ITEMS).await,
            json!([{"stats": {"size": 30}}])
        );
    }

    #[test]
    fn wrong_pages_are_refused() {
        for query in ["page=x", "page=0", "page=1&page_size=501", "name=(&use_regex=true"] {
            assert!(Listing::from(&Parameters::parse(query)).is_err(), "{query}");
        }
        assert!(listing("page=2").range(3).is_err());
        assert!(listing("page=1").range(0).is_ok());
    }
}
