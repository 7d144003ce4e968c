//! Lists: filtered by name, sorted, cut into pages and reduced to columns, as RabbitMQ does it. Of a long list only
//! what is shown is ever made into JSON.

mod columns;
mod order;
mod rows;

use std::ops::Range;

use axum::response::Response;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

pub(crate) use self::columns::{Columns, Fields, at};
use self::order::compare;
pub(crate) use self::order::cut;
pub(crate) use self::rows::Rows;
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

    /// The list as it is answered. `key` tells an item's virtual host and name, by which it is sorted unless a column is
    /// asked for.
    pub(crate) fn respond<T>(
        &self,
        items: Vec<T>,
        key: impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Result<Response, Refusal> {
        Ok(self.select(items, key, &render)?.whole(render))
    }

    /// The same piece by piece, for lists of any length and rows of any.
    pub(crate) fn respond_in_pieces<T: Send + 'static>(
        &self,
        items: Vec<T>,
        key: impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        render: impl Fn(&T, &mut Fields<'_>) + Send + 'static,
    ) -> Result<Response, Refusal> {
        Ok(self.select(items, key, &render)?.stream(render))
    }

    /// The rows of that list.
    pub(crate) fn select<T>(
        &self,
        mut items: Vec<T>,
        key: impl for<'a> Fn(&'a T) -> (&'a str, &'a str),
        render: impl Fn(&T, &mut Fields<'_>),
    ) -> Result<Rows<T>, Refusal> {
        let total = items.len();
        items.retain(|item| self.accepts(key(item).1));
        items.sort_by(|a, b| key(a).cmp(&key(b)));
        let shown = |item: &T, path: &str| {
            let object = Columns::one(path).object(|fields| render(item, fields));
            at(&object, path).cloned().unwrap_or_default()
        };
        self.rows(items, total, shown)
    }

    /// Whether an item of that name is one of the list.
    pub(crate) fn accepts(&self, name: &str) -> bool {
        self.name.as_ref().is_none_or(|wanted| wanted.accepts(name))
    }

    /// Whether some of the items are left out for their names.
    pub(crate) fn is_filtered(&self) -> bool {
        self.name.is_some()
    }

    /// The column that is sorted by.
    pub(crate) fn column(&self) -> Option<&str> {
        self.sort.as_deref()
    }

    /// The rows of a list whose items are accepted and in the order of their names already. `column` tells what an item is
    /// sorted by.
    pub(crate) fn rows<T>(
        &self,
        mut items: Vec<T>,
        total: usize,
        column: impl Fn(&T, &str) -> Value,
    ) -> Result<Rows<T>, Refusal> {
        let counts = (total, items.len());
        let range = self.range(counts.1)?;
        let items = match &self.sort {
            None => {
                if self.reverse {
                    items.reverse();
                }
                items.drain(range.end..);
                items.drain(..range.start);
                items
            }
            // Which is all that is found out about the items that are not shown.
            Some(path) => {
                let items: Vec<_> = items.into_iter().map(|item| (column(&item, path), item)).collect();
                let order = |(a, _): &(Value, T), (b, _): &(Value, T)| {
                    if self.reverse { compare(b, a) } else { compare(a, b) }
                };
                cut(items, range, order).into_iter().map(|(_, item)| item).collect()
            }
        };
        Ok(Rows { items, counts, page: self.page, columns: self.columns.clone() })
    }

    /// The rows of a list of which a page can be found where the list lives, so that it costs no more than its rows: `page`
    /// finds what stands in a range, told whether the order is the other way round.
    pub(crate) fn rows_in_order<T>(
        &self,
        total: usize,
        page: impl FnOnce(Range<usize>, bool) -> Vec<T>,
    ) -> Result<Rows<T>, Refusal> {
        let items = page(self.range(total)?, self.reverse);
        Ok(Rows { items, counts: (total, total), page: self.page, columns: self.columns.clone() })
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            let rows = listing.rows_in_order(names.len(), |range, reverse| {
                let mut names = names;
                if reverse {
                    names.reverse();
                }
                names[range].to_vec()
            });
            let body = rows.expect("rows").whole(|name, fields| fields.put("name", || *name)).into_body();
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
        assert!(listing("name=a").is_filtered());
        assert_eq!(listing("sort=stats.size").column(), Some("stats.size"));
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
