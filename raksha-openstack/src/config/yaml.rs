//! The little of YAML that clouds.yaml needs, as a tree that keeps every scalar's text.
//!
//! An id of digits or a password such as `1e3` must not turn into a number, so scalars are not typed here; whoever asks for a truth
//! value or a number reads it from the text. As in PyYAML, which openstacksdk uses, `<<` merges mappings and of equal keys the last
//! one counts. JSON is read as well: it is YAML.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// Nodes in one file, repetitions by alias included: far above any real file, far below what a hostile one could expand to.
const MAX_NODES: usize = 200_000;
/// Levels of nesting; real files have six.
const MAX_DEPTH: usize = 64;

/// A mapping. Order means nothing in these files.
pub(super) type Map = BTreeMap<String, Node>;

/// A part of a file.
#[derive(Clone)]
pub(super) enum Node {
    /// Text; empty for `null`. Any of it may be a secret.
    Scalar(Zeroizing<String>),
    List(Vec<Node>),
    Map(Map),
}

impl Node {
    pub(super) fn scalar(text: impl Into<String>) -> Self {
        Node::Scalar(Zeroizing::new(text.into()))
    }

    /// The levels of lists and mappings in it.
    fn depth(&self) -> usize {
        match self {
            Node::Scalar(_) => 0,
            Node::List(items) => 1 + items.iter().map(Node::depth).max().unwrap_or(0),
            Node::Map(map) => 1 + map.values().map(Node::depth).max().unwrap_or(0),
        }
    }

    /// The nodes in it, itself included.
    fn count(&self) -> usize {
        match self {
            Node::Scalar(_) => 1,
            Node::List(items) => 1 + items.iter().map(Node::count).sum::<usize>(),
            Node::Map(map) => 1 + map.values().map(Node::count).sum::<usize>(),
        }
    }
}

fn too_deep() -> Fault {
    format!("nested deeper than {MAX_DEPTH} levels")
}

/// Why a text is not such a file, with the line; never with what stands there, which may be a secret.
pub(super) type Fault = String;

/// Reads the one document of `text`; a text without any is an empty scalar.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        builder
            .event(event)
            .map_err(|reason| format!("line {}: {reason}", span.start.line()))?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::scalar("")))
}

/// A list or mapping that is not complete yet.
struct Frame {
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Map,
        merged: Vec<Node>,
        key: Option<String>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    /// Complete nodes that have an anchor. One that contains itself is not complete when its alias comes: no cycles.
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let null = style == ScalarStyle::Plain
                    && tag.is_none()
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let node = Node::scalar(if null {
                    String::new()
                } else {
                    text.into_owned()
                });
                self.place(node, anchor)
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map {
                    entries: Map::new(),
                    merged: Vec::new(),
                    key: None,
                };
                self.open(anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err("the alias refers to nothing that is complete here".to_owned());
                };
                if self.open.len() + node.depth() > MAX_DEPTH {
                    return Err(too_deep());
                }
                // What is in it counts again: copies of copies are how a small file becomes a big tree.
                self.nodes += node.count() - 1;
                self.place(node, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("a second document begins; only one can be read".to_owned())
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.open.push(Frame { anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(Frame { anchor, content }) = self.open.pop() else {
            return Err("something ends that did not begin".to_owned());
        };
        let node = match content {
            Content::List(items) => Node::List(items),
            Content::Map {
                mut entries,
                merged,
                ..
            } => {
                for map in merged {
                    merge(&mut entries, map)?;
                }
                Node::Map(entries)
            }
        };
        self.place(node, anchor)
    }

    /// Puts a complete node where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(format!(
                "more than {MAX_NODES} values, repeated ones counted"
            ));
        }
        if anchor > 0 {
            self.nodes += node.count();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map {
                entries,
                merged,
                key,
            }) => match (key.take(), node) {
                (None, Node::Scalar(text)) => *key = Some(text.to_string()),
                (None, _) => return Err("a key must be a plain name".to_owned()),
                (Some(name), node) if name == "<<" => merged.push(node),
                (Some(name), node) => {
                    entries.insert(name, node);
                }
            },
        }
        Ok(())
    }
}

/// Carries out `<<`: what the mapping itself has counts more, and of several the first.
fn merge(into: &mut Map, from: Node) -> Result<(), Fault> {
    match from {
        Node::Map(map) => {
            for (key, value) in map {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Node::List(items) if items.iter().all(|item| matches!(item, Node::Map(_))) => {
            items.into_iter().try_for_each(|item| merge(into, item))
        }
        _ => Err("<< takes a mapping or a list of mappings".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The tree in one line.
    fn show(node: &Node) -> String {
        match node {
            Node::Scalar(text) => format!("'{}'", text.as_str()),
            Node::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            Node::Map(map) => {
                map.iter().fold("{".to_owned(), |mut line, (key, value)| {
                    write!(line, "{key}={} ", show(value)).unwrap();
                    line
                }) + "}"
            }
        }
    }

    fn shown(text: &str) -> String {
        parse(text).map_or_else(|fault| fault, |node| show(&node))
    }

    #[test]
    fn scalars_keep_their_text() {
        assert_eq!(
            shown("a: 0123\nb: 1e3\nc: yes\nd: ~\ne: '~'\nf:\ng: \"x\\ty\"\nh: 0x1F"),
            "{a='0123' b='1e3' c='yes' d='' e='~' f='' g='x\ty' h='0x1F' }"
        );
    }

    #[test]
    fn aliases_and_merges() {
        assert_eq!(
            shown("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b, z]"),
            "{base={x='1' y='2' } list=[{x='1' y='2' } 'z'] more={x='1' y='3' } }"
        );
        assert_eq!(
            shown("m: {<<: [{a: 1}, {a: 2, b: 2}], c: 3}"),
            "{m={a='1' b='2' c='3' } }"
        );
    }

    #[test]
    fn json_is_read() {
        assert_eq!(
            shown("{\"clouds\": {\"a\": {\"verify\": false, \"x\": [1, null]}}}"),
            "{clouds={a={verify='false' x=['1' ''] } } }"
        );
    }

    #[test]
    fn faults_name_the_line_and_not_the_content() {
        for (text, line) in [
            ("a: 1\nb: [secret, x\nc: 2", "line "),
            ("a: 1\n---\nb: 2", "line 2"),
            ("a: 1\nb: *nothing", "line 2"),
            ("a: &x [*x]", "line 1"),
            ("a: 1\n<<: secret", "line "),
            ("? [secret]\n: 1", "line 1"),
        ] {
            let fault = parse(text)
                .err()
                .unwrap_or_else(|| panic!("accepted: {text}"));
            assert!(fault.starts_with(line), "{text:?}: {fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn hostile_files_are_refused_quickly() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            writeln!(laughs, "a{level}: &a{level} [{below}]").unwrap();
        }
        assert!(
            shown(&laughs).contains("more than"),
            "{}",
            shown(&laughs).len()
        );
        let tower = (1..500).fold("a0: &a0 x\n".to_owned(), |tower, level| {
            let (open, close) = ("[".repeat(50), "]".repeat(50));
            format!("{tower}a{level}: &a{level} {open}*a{}{close}\n", level - 1)
        });
        assert!(shown(&tower).contains("nested deeper"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(100_000)).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let alphabet: Vec<char> = "ab:-?[]{}&*!|>'\"%@`#,~<\n\t \\0é\u{feff}"
            .chars()
            .collect();
        for seed in 0..4000_u64 {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                usize::try_from((z ^ (z >> 31)) >> 33).unwrap()
            };
            let length = next() % 40;
            let text: String = (0..length)
                .map(|_| alphabet[next() % alphabet.len()])
                .collect();
            assert!(
                std::panic::catch_unwind(|| parse(&text).is_ok()).is_ok(),
                "seed {seed}: {text:?}"
            );
        }
    }
}
