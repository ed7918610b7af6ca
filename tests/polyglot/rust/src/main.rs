//! Interpreter of the polyglot suite (README.md) over the crate `capsa`.
mod words;

use capsa::Error;
use std::collections::HashMap;
use std::io::{BufRead, Write};

/// What a word of the script is given.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    pub fn number<T: std::str::FromStr + Default>(&self, key: &str) -> T {
        self.text(key).parse().unwrap_or_default()
    }
}

/// How a step ended.
pub enum Outcome {
    Ok(String),
    Error(Error),
    Unknown,
}

impl From<capsa::Result<String>> for Outcome {
    fn from(result: capsa::Result<String>) -> Self {
        result.map_or_else(Outcome::Error, Outcome::Ok)
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
            bytes.push(u8::from_str_radix(&String::from_utf8_lossy(&digits), 16).unwrap_or(0));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encode(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn main() -> std::io::Result<()> {
    let mut interpreter = words::Interpreter::new().expect("a builder");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut parts = line.split_whitespace();
        let word = parts.next().unwrap_or_default();
        let given = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), decode(v))).collect();
        let mut out = std::io::stdout().lock();
        match interpreter.step(word, &Arguments(given)) {
            Outcome::Ok(value) => writeln!(out, "ok {}", encode(&value))?,
            Outcome::Unknown => writeln!(out, "unknown {word}")?,
            Outcome::Error(error) => {
                let hint = if error.hint().is_empty() { "nohint" } else { "hint" };
                writeln!(out, "error {} {hint} {}", error.kind(), encode(error.message()))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
