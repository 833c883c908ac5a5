//! Text made safe for each format.

/// For XML and HTML, in text and in quoted attributes.
pub fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// For a cell of a Markdown table.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // An interval's brackets may stay: only `](` makes a link.
            '(' if out.ends_with(']') => out.push_str("\\("),
            '|' | '*' | '_' | '`' | '\\' => out.extend(['\\', character]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// For LaTeX text. Letters beyond ASCII stay (LaTeX reads UTF-8); symbols that the standard
/// fonts lack become commands.
pub fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', character]),
            '\\' => out.push_str("\\textbackslash{}"),
            // Right after a row's `\\`, a bracket would begin its option, and a star be one.
            '[' => out.push_str("{[}"),
            '*' => out.push_str("{*}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '\u{b1}' => out.push_str("$\\pm$"),
            '\u{d7}' => out.push_str("$\\times$"),
            '\u{b7}' => out.push_str("$\\cdot$"),
            '\u{2212}' => out.push_str("$-$"),
            '\u{2264}' => out.push_str("$\\le$"),
            '\u{2265}' => out.push_str("$\\ge$"),
            '\u{2192}' => out.push_str("$\\to$"),
            '\u{221e}' => out.push_str("$\\infty$"),
            '\u{221a}' => out.push_str("$\\surd$"),
            '\u{2016}' => out.push_str("$\\Vert$"),
            '\u{2113}' => out.push_str("$\\ell$"),
            'ε' => out.push_str("$\\varepsilon$"),
            'λ' => out.push_str("$\\lambda$"),
            'μ' => out.push_str("$\\mu$"),
            'σ' => out.push_str("$\\sigma$"),
            '²' => out.push_str("\\textsuperscript{2}"),
            '³' => out.push_str("\\textsuperscript{3}"),
            '₁' => out.push_str("\\textsubscript{1}"),
            '₂' => out.push_str("\\textsubscript{2}"),
            '†' => out.push_str("\\textdagger{}"),
            '‡' => out.push_str("\\textdaggerdbl{}"),
            '–' => out.push_str("--"),
            '—' => out.push_str("---"),
            '’' => out.push('\''),
            '“' => out.push_str("``"),
            '”' => out.push_str("''"),
            '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// One field of a CSV file (RFC 4180). A text that a spreadsheet would take for a formula
/// gets an apostrophe before it, which shows that it is text; numbers stay as they are.
pub fn csv(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if is_formula && field.parse::<f64>().is_err() {
        return csv(&format!("'{field}"));
    }
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_slips_through_unescaped() {
        assert_eq!(super::xml("a<b & \"c'd\">"), "a&lt;b &amp; &quot;c&#39;d&quot;&gt;");
        assert_eq!(super::markdown("a|b_c <i>"), "a\\|b\\_c &lt;i>");
        assert_eq!(super::latex("50% of $x_1$ {a\\b}"), {
            "50\\% of \\$x\\_1\\$ \\{a\\textbackslash{}b\\}"
        });
        assert_eq!(super::latex("1 ± 2 #3 ~^&"), {
            "1 $\\pm$ 2 \\#3 \\textasciitilde{}\\textasciicircum{}\\&"
        });
        // At the start of a row, which comes after the `\\` of the one before.
        assert_eq!(super::latex("*a [b] 5%"), "{*}a {[}b] 5\\%");
        assert_eq!(super::csv("plain"), "plain");
        for text in ["=1+1", "+cmd", "-a", "@SUM(A1)", "\t=1"] {
            assert_eq!(super::csv(text), format!("'{text}"));
        }
        assert_eq!(super::csv("=a,\"b\""), "\"'=a,\"\"b\"\"\"");
        for number in ["-0.5", "+1", "-1e-3", "-inf"] {
            assert_eq!(super::csv(number), number);
        }
        assert_eq!(super::csv("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
    }
}
