//! The pages of the guide: their fenced blocks, and the complete files among them (a block below a line that is nothing
//! but the file's name in backquotes).

use std::fs;
use std::path::{Path, PathBuf};

use super::places::repository;

/// What the pages shorten, so that a line can be read.
pub const SHORT_FINGERPRINT: &str = "2f0c…9a";

/// A fenced block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    /// The file's name, if the block is a complete file.
    pub name: Option<String>,
    /// The word behind the fence, such as `toml`; empty if there is none.
    pub language: String,
    pub text: String,
}

/// README.md and every page below `docs`, decisions aside, as seen from the project's directory.
pub fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    for directory in ["docs", "docs/guide"] {
        for entry in fs::read_dir(repository().join(directory)).expect("directory") {
            let path = Path::new(directory).join(entry.expect("entry").file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The text of a page.
pub fn read(page: &Path) -> String {
    fs::read_to_string(repository().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The blocks of a page, in its order.
pub fn blocks(page: &Path) -> Vec<Block> {
    let text = read(page);
    let mut lines = text.lines();
    let mut blocks = Vec::new();
    let mut last = "";
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let name = last.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'));
            blocks.push(Block {
                name: name.filter(|name| !name.contains('`')).map(str::to_owned),
                language: language.to_owned(),
                text: content.join("\n") + "\n",
            });
            last = "";
        } else if !line.is_empty() {
            last = line;
        }
    }
    blocks
}

/// The complete file `name` of the page `page` of the guide.
pub fn file(page: &str, name: &str) -> String {
    let path = Path::new("docs/guide").join(page);
    let mut found = blocks(&path).into_iter().filter(|block| block.name.as_deref() == Some(name));
    let (Some(block), None) = (found.next(), found.next()) else {
        panic!("{page} should have one file `{name}`");
    };
    block.text
}
