//! Names and versions, each stored once.

use std::collections::HashMap;
use std::rc::Rc;

use crate::format::error::FormatError;

/// A name or a version, in bytes.
pub const WORD_LIMIT: usize = 16 << 10;
/// Total of all texts. Those of the largest archives are estimated at some 20 MB.
const WORDS_LIMIT: usize = 256 << 20;

/// The number of an interned text.
pub type Symbol = u32;

/// Stores each different text once.
#[derive(Default)]
pub struct Interner {
    numbers: HashMap<Rc<str>, Symbol>,
    texts: Vec<Rc<str>>,
    bytes: usize,
}

impl Interner {
    pub fn add(&mut self, text: &str) -> Result<Symbol, LimitExceeded> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        self.bytes += text.len();
        if text.len() > WORD_LIMIT || self.bytes > WORDS_LIMIT {
            return Err(LimitExceeded);
        }
        let number = Symbol::try_from(self.texts.len()).map_err(|_| LimitExceeded)?;
        let text: Rc<str> = text.into();
        self.texts.push(Rc::clone(&text));
        self.numbers.insert(text, number);
        Ok(number)
    }

    /// `None` if the text was not added.
    pub fn number_of(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    pub fn text(&self, word: Symbol) -> &str {
        &self.texts[word as usize]
    }
}

/// A limit was exceeded: the index has too many packages or dependencies.
#[derive(Debug)]
pub struct LimitExceeded;

impl LimitExceeded {
    pub fn in_index(&self, file: &str) -> FormatError {
        let Self = self;
        FormatError::malformed(file, "too many package dependencies")
    }
}
