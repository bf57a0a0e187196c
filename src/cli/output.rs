//! What goes to stdout: a table on a terminal, tab-separated lines into a pipe, one JSON document with `--json`,
//! ids with `--quiet`. Everything else (progress, notes, errors) goes to stderr.

use super::exit::{CliError, Exit};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct OutputFlags {
    /// Print one JSON document
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub json: bool,

    /// Print ids only, and no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table {
        color: bool,
    },
    /// For `cut` and `awk`: no header, one line a row, a tab between cells.
    Lines,
    Json,
    Quiet,
}

impl OutputFlags {
    /// `no_color`: the variable `NO_COLOR` is set and not empty (no-color.org).
    pub fn format(self, is_terminal: bool, no_color: bool) -> Format {
        match self {
            Self { json: true, .. } => Format::Json,
            Self { quiet: true, .. } => Format::Quiet,
            _ if is_terminal => Format::Table { color: !no_color },
            _ => Format::Lines,
        }
    }
}

pub fn stdout_format(flags: OutputFlags) -> Format {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    flags.format(io::stdout().is_terminal(), no_color)
}

/// Writes data to stdout.
///
/// # Errors
/// `output_closed` when nobody reads any more.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|fault| match fault.kind() {
        ErrorKind::BrokenPipe => CliError::output_closed(),
        _ => CliError::new(Exit::Failure, format!("stdout cannot be written: {fault}")),
    })
}

/// Says something to the person, on stderr. A closed stderr is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// Text that cannot steer a terminal: labels, models and error texts come from elsewhere.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A column of a listing.
pub struct Column {
    pub title: &'static str,
    pub cell: fn(&Value) -> String,
}

/// How one kind of thing is listed.
pub struct Shape {
    /// The member that `--quiet` prints.
    pub id: &'static str,
    pub columns: &'static [Column],
}

/// A list that may come in pages: each call answers what is to be printed now. Only a table is held back to its end,
/// since widths depend on all rows; the rest streams, so `--all` needs no more memory than a page.
pub struct Listing<'a> {
    format: Format,
    shape: &'a Shape,
    rows: Vec<Vec<String>>,
    count: usize,
}

impl<'a> Listing<'a> {
    pub fn new(format: Format, shape: &'a Shape) -> Self {
        Self {
            format,
            shape,
            rows: Vec::new(),
            count: 0,
        }
    }

    /// How many items there have been.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn page(&mut self, items: &[Value]) -> String {
        let mut text = String::new();
        for item in items {
            self.item(item, &mut text);
            self.count += 1;
        }
        text
    }

    fn item(&mut self, item: &Value, text: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self.format {
            Format::Table { .. } => {
                self.rows.push(self.cells(item));
                Ok(())
            }
            Format::Lines => writeln!(text, "{}", tab_separated(&self.cells(item))),
            Format::Quiet => writeln!(text, "{}", plain(&member(item, self.shape.id))),
            Format::Json if self.count == 0 => write!(text, "{{\"data\":[\n{item}"),
            Format::Json => write!(text, ",\n{item}"),
        };
    }

    fn cells(&self, item: &Value) -> Vec<String> {
        self.shape
            .columns
            .iter()
            .map(|column| (column.cell)(item))
            .collect()
    }

    /// `more` is what the document says beside `data`: where to read on.
    pub fn end(self, more: Option<(&str, &Value)>) -> String {
        let titles: Vec<&str> = self.shape.columns.iter().map(|column| column.title).collect();
        match self.format {
            Format::Table { color } => table(&titles, &self.rows, color),
            Format::Lines | Format::Quiet => String::new(),
            Format::Json => {
                let open = if self.count == 0 { "{\"data\":[" } else { "" };
                let more = more.map_or_else(String::new, |(name, value)| format!(",\"{name}\":{value}"));
                format!("{open}\n]{more}}}\n")
            }
        }
    }
}

/// One document for `--json`.
pub fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A table for people; empty without rows, since a lone header tells nothing.
pub fn table(titles: &[&str], rows: &[Vec<String>], color: bool) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(titles);
    for row in rows {
        table.add_row(row.iter().map(|text| cell(text, color)));
    }
    arrange(&mut table);
    if color {
        table.enforce_styling();
    }
    format!("{}\n", table.trim_fmt())
}

/// Narrower terminals, and those that tell no size, get the rows as they are.
const MIN_WIDTH: u16 = 80;

/// Fits a table to the terminal; the first column holds ids, which must stay whole to be copied.
fn arrange(table: &mut Table) {
    let fits = table.width().is_some_and(|width| width >= MIN_WIDTH);
    let arrangement = if fits {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    table.set_content_arrangement(arrangement);
    if let Some(ids) = table.column_mut(0) {
        ids.set_constraint(ColumnConstraint::ContentWidth);
    }
}

fn cell(text: &str, color: bool) -> Cell {
    let cell = Cell::new(plain(text));
    match color.then(|| status_color(text)).flatten() {
        Some(color) => cell.fg(color),
        None => cell,
    }
}

/// The colour of a status word; the word itself always stands there too.
fn status_color(word: &str) -> Option<Color> {
    Some(match word {
        "completed" | "archived" | "enabled" => Color::Green,
        "partial" | "disabled" => Color::Yellow,
        "failed" | "timed_out" | "rejected" | "expired" | "revoked" => Color::Red,
        _ => return None,
    })
}

pub fn tab_separated(cells: &[String]) -> String {
    let clean: Vec<String> = cells
        .iter()
        .map(|text| plain(text).replace('\n', "\u{fffd}"))
        .collect();
    clean.join("\t")
}

/// A member of a JSON object as text; empty when it is absent or null.
pub fn member(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The items of an answer that lists things.
pub fn items(answer: &Value) -> &[Value] {
    answer
        .get("data")
        .unwrap_or(answer)
        .as_array()
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPE: Shape = Shape {
        id: "id",
        columns: &[
            Column {
                title: "ID",
                cell: |v| member(v, "id"),
            },
            Column {
                title: "STATUS",
                cell: |v| member(v, "status"),
            },
        ],
    };

    fn listed(format: Format, pages: &[&[Value]]) -> String {
        let mut listing = Listing::new(format, &SHAPE);
        let body: String = pages.iter().map(|page| listing.page(page)).collect();
        body + &listing.end(Some(("nextCursor", &Value::Null)))
    }

    #[test]
    fn pages_make_one_json_document() {
        let (a, b) = (json!({"id": "a"}), json!({"id": "b"}));
        let text = listed(
            Format::Json,
            &[std::slice::from_ref(&a), std::slice::from_ref(&b)],
        );
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({"data": [a, b], "nextCursor": null}));
        let empty: Value = serde_json::from_str(&listed(Format::Json, &[])).unwrap();
        assert_eq!(empty, json!({"data": [], "nextCursor": null}));
    }

    #[test]
    fn lines_have_no_header_and_quiet_has_ids_only() {
        let page = [json!({"id": "a", "status": "failed"}), json!({"id": "b"})];
        assert_eq!(listed(Format::Lines, &[&page]), "a\tfailed\nb\t\n");
        assert_eq!(listed(Format::Quiet, &[&page]), "a\nb\n");
    }

    #[test]
    fn a_table_has_a_header_and_colour_only_when_wanted() {
        let page = [json!({"id": "a", "status": "failed"})];
        let bare = listed(Format::Table { color: false }, &[&page]);
        let lines: Vec<&str> = bare.lines().map(str::trim).collect();
        assert_eq!(lines, ["ID  STATUS", "a   failed"]);
        let coloured = listed(Format::Table { color: true }, &[&page]);
        assert!(coloured.contains("\u{1b}["), "{coloured:?}");
        assert_eq!(listed(Format::Table { color: true }, &[]), "");
    }

    #[test]
    fn an_id_stays_whole_however_narrow_the_terminal() {
        let id = "01234567-89ab-4cde-8f01-23456789abcd";
        for width in [1, 80, 90] {
            let mut table = Table::new();
            table.set_width(width).set_header(["ID", "TEXT"]);
            table.add_row([id, &"words ".repeat(40)]);
            arrange(&mut table);
            assert!(table.to_string().contains(id), "{table}");
        }
    }

    #[test]
    fn nothing_from_elsewhere_steers_the_terminal() {
        let page = [json!({"id": "a\u{1b}[2J\tb\nc", "status": "x"})];
        for format in [Format::Table { color: false }, Format::Lines, Format::Quiet] {
            let text = listed(format, &[&page]);
            assert!(!text.contains('\u{1b}') && !text.contains("\tb"), "{text:?}");
        }
        assert_eq!(listed(Format::Lines, &[&page]).lines().count(), 1);
    }

    #[test]
    fn flags_choose_before_the_terminal_does() {
        let flags = |json, quiet| OutputFlags { json, quiet };
        assert_eq!(flags(true, false).format(true, false), Format::Json);
        assert_eq!(flags(false, true).format(true, false), Format::Quiet);
        assert_eq!(
            flags(false, false).format(true, true),
            Format::Table { color: false }
        );
        assert_eq!(
            flags(false, false).format(true, false),
            Format::Table { color: true }
        );
        assert_eq!(flags(false, false).format(false, false), Format::Lines);
    }
}
