//! A folder of the crate is a lifetime, and knows only what lives at least as long: its paths point down.
//! Within a folder, paths run in no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// From the ground up. What stands in one line may know each other.
const LAYERS: [&[&str]; 11] = [
    &["text", "postgres_error", "telemetry", "sql", "row"],
    &["stats"],
    &["config"],
    &["session"],
    &["pool"],
    &["error"],
    &["lease", "listen"],
    &["shared"],
    &["database"],
    &["builder", "watch", "request"],
    &["testing", "health"],
];

/// Paths that close a circle and stay: the folder, the file, and the file that it may name all the same.
const EXCUSED: [(&str, &str, &str); 6] = [
    ("testing", "builder", "postgres"),
    // Methods of the trait return the types, which implement the trait.
    ("request", "sealed", "transaction"),
    ("request", "generic", "transaction"),
    ("request", "generic", "with_timeout"),
    ("request", "verbs", "with_timeout"),
    // The queue and the task that works it off.
    ("testing", "work", "keeper"),
];

#[test]
fn no_folder_reaches_up() {
    let crate_ = Sources::read();
    let mut wrong = BTreeSet::new();
    for module in crate_.0.keys() {
        let Some(own) = module.first().and_then(|name| layer(name)) else { continue };
        for used in crate_.used_by(module) {
            let used = used.first().map_or("", String::as_str);
            if layer(used).is_some_and(|other| other > own) {
                wrong.insert(format!("`{}` reaches up to `{used}`", module.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A folder's own module (`mod.rs`, or `name.rs` beside it) does not count: it holds what its files share, and passes on what
/// they make.
#[test]
fn no_files_of_a_folder_use_each_other_in_a_circle() {
    let crate_ = Sources::read();
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for module in crate_.0.keys() {
        for used in crate_.used_by(module) {
            let shared = module.iter().zip(&used).take_while(|(own, other)| own == other).count();
            let (Some(own), Some(other)) = (module.get(shared), used.get(shared)) else { continue };
            let folder = module[..shared].join("/");
            if !EXCUSED.contains(&(&folder, own, other)) {
                folders.entry(folder).or_default().entry(own.clone()).or_default().insert(other.clone());
            }
        }
    }
    let circles: Vec<String> = folders
        .iter()
        .flat_map(|(folder, uses)| uses.keys().filter_map(move |file| Some((folder, circle(file, uses)?))))
        .map(|(folder, circle)| format!("src/{folder}: {}", circle.join(" -> ")))
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The way from a file back to itself.
fn circle(file: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![file.to_owned()]];
    while let Some(way) = ways.pop() {
        for next in way.last().and_then(|last| uses.get(last)).into_iter().flatten() {
            let way = [way.clone(), vec![next.clone()]].concat();
            if next == file {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push(way);
            }
        }
    }
    None
}

type Module = Vec<String>;

/// The text of every module of the crate but its tests, which may look at everything.
struct Sources(BTreeMap<Module, String>);

impl Sources {
    fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
        let mut files = Vec::new();
        collect(&src, &mut files).expect("the sources");
        let mut sources = BTreeMap::new();
        for file in files {
            let path = file.strip_prefix(&src).expect("a file of src").with_extension("");
            let mut module: Module =
                path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            // `mod.rs` is the folder itself.
            module.pop_if(|name| name == "mod" || name == "lib");
            if !module.iter().any(|name| name == "tests") {
                sources.insert(module, code(&fs::read_to_string(&file).expect("a source file")));
            }
        }
        Self(sources)
    }

    /// The modules that a module names, be it `crate::` or as many `super::` as it is deep.
    fn used_by(&self, module: &[String]) -> BTreeSet<Module> {
        let code = &self.0[module];
        let mut used = BTreeSet::new();
        for up in 0..=module.len() {
            let (root, base) = match up {
                0 => ("crate::".to_owned(), &module[..0]),
                _ => ("super::".repeat(up), &module[..module.len() - up]),
            };
            for path in paths_behind(&root, code) {
                used.insert(self.home_of(base, &path));
            }
        }
        used.remove(module);
        used
    }

    fn has(&self, module: &[String]) -> bool {
        self.0.keys().any(|known| known.starts_with(module))
    }

    /// The module in which the thing lives that a path names, seen from `base`, whoever passes it on.
    fn home_of(&self, base: &[String], path: &[String]) -> Module {
        let mut home = base.to_vec();
        for (at, name) in path.iter().enumerate() {
            let inner = [&home[..], std::slice::from_ref(name)].concat();
            if self.has(&inner) {
                home = inner;
                continue;
            }
            // Only from a module within: so the search ends.
            let passed_on = paths_behind("use ", self.0.get(&home).map_or("", String::as_str));
            for source in passed_on.iter().filter(|source| self.has(&[&home[..], &source[..1]].concat())) {
                let (last, modules) = source.split_last().expect("a path has a name");
                let from = [&home[..], modules].concat();
                if last == name || (last == "*" && self.0.get(&from).is_some_and(|text| defines(text, name)))
                {
                    let path = [modules, std::slice::from_ref(name), &path[at + 1..]].concat();
                    return self.home_of(&home, &path);
                }
            }
            break;
        }
        home
    }
}

fn defines(code: &str, name: &str) -> bool {
    ["struct ", "enum ", "trait ", "type ", "const ", "static ", "fn "].iter().any(|keyword| {
        code.match_indices(&format!("{keyword}{name}")).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        })
    })
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let (code, _) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((text, ""));
    let lines: Vec<&str> =
        code.lines().map(|line| line.split("//").next().unwrap_or_default().trim()).collect();
    lines.join(" ")
}

/// The paths that follow a root, which is none itself behind another `::`.
fn paths_behind(root: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
            continue;
        }
        let behind = paths(&code[at + root.len()..]);
        found.extend(behind.into_iter().filter(|path| path[0] != "super" || root == "use "));
    }
    found
}

/// `a::b` of `a::b()`, and `a::b` and `a::c` of `a::{b, c}`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.extend(paths(&group[start..at]));
                    start = at + 1;
                    if letter == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return found;
    }
    if text.starts_with('*') {
        return vec![vec!["*".to_owned()]];
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    if end == 0 {
        return Vec::new();
    }
    let name = text[..end].to_owned();
    let behind = text[end..].strip_prefix("::").map(paths).unwrap_or_default();
    if behind.is_empty() {
        return vec![vec![name]];
    }
    behind.into_iter().map(|path| [vec![name.clone()], path].concat()).collect()
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let sources = [
        ("", "mod pool; mod error; pub use error::{Error, Result};"),
        ("error", "pub enum Error {} pub type Result = ();"),
        ("pool", "mod gate; pub use gate::*;"),
        ("pool/gate", "pub(crate) struct Gate; use crate::{Result, lease::{a, b}};"),
        (
            "pool/upkeep",
            "use super::{Gate, Opening}; fn f() { super::super::request::g(); crate::pool::Gate::h() }",
        ),
        ("lease", ""),
        ("request", "// crate::database"),
    ];
    let module = |path: &str| -> Module {
        path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let sources = Sources(sources.map(|(path, text)| (module(path), code(text))).into());
    let used = |path| sources.used_by(&module(path)).iter().map(|used| used.join("/")).collect::<Vec<_>>();
    assert_eq!(used("pool/gate"), ["error", "lease"]);
    assert_eq!(used("pool/upkeep"), ["pool", "pool/gate", "request"]);
    assert_eq!(used("request"), [""; 0]);
    let uses = |file: &str, used: &str| (file.to_owned(), BTreeSet::from([used.to_owned()]));
    let uses = BTreeMap::from([uses("a", "b"), uses("b", "c"), uses("c", "b")]);
    assert_eq!(circle("a", &uses), None);
    assert_eq!(circle("b", &uses), Some(vec!["b".into(), "c".into(), "b".into()]));
}
