//! Fields of a declaration: one set by its dotted path, many laid over others.

/// Most parts of a dotted field. A template has fewer; without a bound, a long enough name
/// would be too deep for the stack.
const MAX_DEPTH: usize = 16;

/// Sets the dotted `path` of a table, making tables on the way.
pub(super) fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), String> {
    if path.split('.').nth(MAX_DEPTH).is_some() {
        let begins: String = path.chars().take(40).collect();
        return Err(format!("'{begins}...' has more than {MAX_DEPTH} parts"));
    }
    let Some((head, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(head.to_owned()).or_insert_with(|| toml::Table::new().into());
    match inner.as_table_mut() {
        Some(inner) => set(inner, rest, value),
        None => Err(format!("'{head}' is no table, so '{path}' cannot be set")),
    }
}

/// Lays `above` over `table`, field by field; a `None`-like empty table removes nothing.
pub(super) fn overlay(table: &mut toml::Table, above: &toml::Table) {
    for (name, value) in above {
        match (table.get_mut(name).and_then(toml::Value::as_table_mut), value.as_table()) {
            // An enum such as a schedule is replaced whole, never mixed with another kind.
            (Some(inner), Some(over)) if !is_choice(name) => overlay(inner, over),
            _ => drop(table.insert(name.clone(), value.clone())),
        }
    }
}

/// Fields that hold one of several kinds.
fn is_choice(name: &str) -> bool {
    matches!(name, "schedule" | "data")
}
