//! Bindings of `topic` exchanges: a trie of words, in which `*` stands for one word and `#` for any number.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::bindings::{Binding, BindingSet};

/// The trie. Nodes are named by their index; freed ones are used again.
pub(super) struct TopicTrie {
    nodes: Vec<Node>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Node {
    words: FxHashMap<Box<str>, u32>,
    star: Option<u32>,
    hash: Option<u32>,
    bindings: BindingSet,
}

impl Node {
    fn is_bare(&self) -> bool {
        self.words.is_empty() && self.star.is_none() && self.hash.is_none() && self.bindings.is_empty()
    }

    fn child(&self, word: &str) -> Option<u32> {
        match word {
            "*" => self.star,
            "#" => self.hash,
            word => self.words.get(word).copied(),
        }
    }

    fn set_child(&mut self, word: &str, child: u32) {
        match word {
            "*" => self.star = Some(child),
            "#" => self.hash = Some(child),
            word => {
                self.words.insert(word.into(), child);
            }
        }
    }

    fn clear_child(&mut self, word: &str) {
        match word {
            "*" => self.star = None,
            "#" => self.hash = None,
            word => {
                self.words.remove(word);
            }
        }
    }
}

const ROOT: u32 = 0;

impl Default for TopicTrie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }
}

impl TopicTrie {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes[ROOT as usize].is_bare()
    }

    pub(super) fn insert(&mut self, pattern: &Arc<str>, binding: Binding) -> bool {
        let mut node = ROOT;
        for word in words(pattern) {
            node = match self.nodes[node as usize].child(word) {
                Some(child) => child,
                None => {
                    let child = self.new_node();
                    self.nodes[node as usize].set_child(word, child);
                    child
                }
            };
        }
        self.nodes[node as usize].bindings.insert(binding)
    }

    pub(super) fn remove(&mut self, pattern: &Arc<str>, binding: &Binding) -> bool {
        let mut path = vec![];
        let mut node = ROOT;
        for word in words(pattern) {
            let Some(child) = self.nodes[node as usize].child(word) else { return false };
            path.push((node, word));
            node = child;
        }
        let removed = self.nodes[node as usize].bindings.swap_remove(binding);
        for (parent, word) in path.into_iter().rev() {
            if !self.nodes[node as usize].is_bare() {
                break;
            }
            self.nodes[parent as usize].clear_child(word);
            self.nodes[node as usize] = Node::default();
            self.free.push(node);
            node = parent;
        }
        removed
    }

    /// Calls `found` with every binding.
    pub(super) fn for_each(&self, found: &mut dyn FnMut(&Binding)) {
        self.nodes.iter().flat_map(|node| &node.bindings).for_each(found);
    }

    /// Calls `found` with every binding whose pattern matches.
    pub(super) fn matching(&self, routing_key: &str, found: &mut dyn FnMut(&Binding)) {
        let words: Vec<&str> = words(routing_key).collect();
        let mut walk = Walk { trie: self, words: &words, seen: FxHashSet::default(), found };
        walk.visit(ROOT, 0);
    }

    fn new_node(&mut self) -> u32 {
        if let Some(node) = self.free.pop() {
            return node;
        }
        self.nodes.push(Node::default());
        (self.nodes.len() - 1) as u32
    }
}

/// A search through the trie. Several `#` lead to the same place in many ways, hence `seen`: without it the time
/// would grow exponentially with their number.
struct Walk<'a> {
    trie: &'a TopicTrie,
    words: &'a [&'a str],
    seen: FxHashSet<(u32, usize)>,
    found: &'a mut dyn FnMut(&Binding),
}

impl Walk<'_> {
    fn visit(&mut self, node: u32, at: usize) {
        let trie = self.trie;
        let node = &trie.nodes[node as usize];
        if let Some(hash) = node.hash {
            for after in at..=self.words.len() {
                if self.seen.insert((hash, after)) {
                    self.visit(hash, after);
                }
            }
        }
        let Some(word) = self.words.get(at) else {
            node.bindings.iter().for_each(&mut *self.found);
            return;
        };
        if let Some(child) = node.words.get(*word) {
            self.visit(*child, at + 1);
        }
        if let Some(star) = node.star {
            self.visit(star, at + 1);
        }
    }
}

/// The words of a key; an empty key has none, but `.` has two empty ones.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(move |_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::bindings::Destination;
    use super::*;

    fn trie(patterns: &[&str]) -> TopicTrie {
        let mut trie = TopicTrie::default();
        for pattern in patterns {
            assert!(trie.insert(&(*pattern).into(), binding(pattern)));
        }
        trie
    }

    fn binding(name: &str) -> Binding {
        Binding { destination: Destination::Exchange(name.into()), arguments: Arc::new([]) }
    }

    fn matches(trie: &TopicTrie, key: &str) -> Vec<String> {
        let mut found = vec![];
        trie.matching(key, &mut |binding| found.push(binding.destination.name().to_string()));
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn star_is_one_word_and_hash_any_number() {
        let trie = trie(&["a.b.c", "a.*.c", "a.#", "#", "*", "", "#.c", "a.#.c"]);
        assert_eq!(matches(&trie, "a.b.c"), ["#", "#.c", "a.#", "a.#.c", "a.*.c", "a.b.c"]);
        assert_eq!(matches(&trie, "a"), ["#", "*", "a.#"]);
        assert_eq!(matches(&trie, "a.c"), ["#", "#.c", "a.#", "a.#.c"]);
        assert_eq!(matches(&trie, ""), ["", "#"]);
        assert_eq!(matches(&trie, "b..c"), ["#", "#.c"]);
    }

    #[test]
    fn what_is_removed_matches_no_more_and_leaves_nothing() {
        let mut trie = trie(&["a.*.#", "a.b"]);
        assert!(!trie.remove(&"a".into(), &binding("a")));
        assert!(trie.remove(&"a.*.#".into(), &binding("a.*.#")));
        assert_eq!(matches(&trie, "a.b"), ["a.b"]);
        assert!(trie.remove(&"a.b".into(), &binding("a.b")));
        assert!(trie.is_empty());
    }

    #[test]
    fn many_hashes_take_no_exponential_time() {
        let trie = trie(&["#.#.#.#.#.#.#.#.#.#.#.#.#.#.z"]);
        let key = "a.".repeat(100) + "b";
        assert_eq!(matches(&trie, &key), [""; 0]);
    }
}
