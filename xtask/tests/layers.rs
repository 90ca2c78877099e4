//! A folder of the crate is a lifetime, and knows only what lives at least as long: its paths point down.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// From the ground up. What stands in one line may know each other.
const LAYERS: [&[&str]; 8] = [
    &["text", "postgres_error", "telemetry", "sql"],
    &["config"],
    &["session"],
    &["pool"],
    &["error"],
    &["lease"],
    &["database"],
    &["request"],
];

#[test]
fn no_folder_reaches_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let mut files = Vec::new();
    collect(&src, &mut files).expect("the sources");
    let mut wrong = BTreeSet::new();
    for file in files {
        let path = file.strip_prefix(&src).expect("a file of src").to_owned();
        let names: Vec<String> =
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let module = names[0].trim_end_matches(".rs");
        // Tests may look at everything.
        let is_test = names.iter().any(|name| name == "tests" || name == "tests.rs");
        let Some(own) = layer(module).filter(|_| !is_test) else { continue };
        let text = fs::read_to_string(&file).expect("a source file");
        // A file of a folder is one module below it, and `mod.rs` or `name.rs` beside it the folder itself.
        let depth = names.len() - usize::from(names.last().is_some_and(|name| name == "mod.rs"));
        for used in used_modules(&text, depth) {
            if layer(&used).is_some_and(|other| other > own) {
                wrong.insert(format!("src/{} reaches up to `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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

/// The crate's modules that a file names by a path from the root, be it `crate::` or as many `super::` as it is deep.
fn used_modules(text: &str, depth: usize) -> Vec<String> {
    let code: String = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ");
    let mut used = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            used.extend(first_names(&code[at + root.len()..]).into_iter().map(home_of));
        }
    }
    used
}

/// `a` of `a::b`, and `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| {
        path.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// Where those live that the root passes on.
fn home_of(name: String) -> String {
    match name.as_str() {
        "Error" | "Result" => "error".into(),
        "Database" => "database".into(),
        "Connection" | "Transaction" | "RowStream" => "request".into(),
        _ => name,
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use crate::pool::{Place, Pool};\nuse crate::{Result, lease::{a, b}};\nfn f() { super::super::request::g(); }\n\
        // crate::database\nuse super::sibling;\n#[cfg(test)]\nuse crate::database::Database;";
    assert_eq!(used_modules(text, 2), ["pool", "error", "lease", "request"]);
}
