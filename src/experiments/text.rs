//! TOML that people write: declarations, profiles, claims and references.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Reads a file's text. Whatever stands in it may be printed on a terminal and written into
/// SVG, HTML and LaTeX, none of which take control characters.
///
/// # Errors
/// If it is malformed, or a text in it holds a control character, by the name of the field.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let sentence = |e: toml::de::Error| e.to_string().trim_end().to_owned();
    let parsed = toml::from_str(text).map_err(sentence)?;
    // Once more without a type: a type need not keep every text.
    check_table("", &toml::from_str(text).map_err(sentence)?)?;
    Ok(parsed)
}

fn check_table(place: &str, table: &Table) -> Result<(), String> {
    table.iter().try_for_each(|(name, value)| {
        check_text(place, name)?;
        let dot = if place.is_empty() { "" } else { "." };
        check_value(&format!("{place}{dot}{name}"), value)
    })
}

fn check_value(place: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => check_text(place, text),
        Value::Table(table) => check_table(place, table),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(index, value)| check_value(&format!("{place}[{index}]"), value)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => Ok(()),
    }
}

fn check_text(place: &str, text: &str) -> Result<(), String> {
    match text.chars().find(|&c| is_forbidden(c)) {
        None => Ok(()),
        Some(c) => {
            let place = if place.is_empty() { "a name" } else { place };
            Err(format!("{place} holds the control character U+{:04X}; remove it", u32::from(c)))
        }
    }
}

/// Control characters but tabs and ends of lines; those that turn the direction of writing,
/// so that a text reads otherwise than it is stored; those that XML excludes.
fn is_forbidden(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\n' | '\t');
    control
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_named_with_their_field() {
        let refused = |text: &str| parse::<Table>(text).unwrap_err();
        for (escape, name) in [
            (r"\u0007", "U+0007"),
            (r"\u001b[31m", "U+001B"),
            (r"\u009b", "U+009B"),
            (r"\r", "U+000D"),
            (r"\u202e", "U+202E"),
            (r"\uffff", "U+FFFF"),
        ] {
            let said = refused(&format!("[[axis]]\nlabel = \"a\"\n[[axis]]\nlabel = \"{escape}\""));
            assert!(said.contains("axis[1].label") && said.contains(name), "{said}");
            let said = refused(&format!("[set]\n\"{escape}\" = 1"));
            assert!(said.contains(name), "{said}");
        }
        let text = "title = \"Zürich \u{2265} 1\"\nsummary = \"\"\"\nTwo\n\tlines\"\"\"";
        assert!(parse::<Table>(text).is_ok());
    }
}
