//! The figure of `make bench-scaling`, drawn as the report's figures are.

use bad_global_minima::report::figures::WIDTH;
use bad_global_minima::report::figures::axes::{
    Entry, Head, Panel, Sample, Scale, decades, tick_text,
};
use bad_global_minima::report::figures::canvas::{Canvas, Font, Pen, Point};
use bad_global_minima::report::figures::palette::{BLUE, MUTED, Marker, VERMILION};

/// One column: what was varied, and what it took.
pub struct Column {
    pub title: String,
    pub x_label: String,
    /// `(value, seconds, bytes)`, in the order of values.
    pub points: Vec<(f64, f64, f64)>,
    /// Whether time should fall with the value (more jobs) instead of growing with it.
    pub falls: bool,
}

const ROW: f64 = 250.0;

/// Time above, memory below, one column each; both scales logarithmic.
pub fn draw(title: &str, how: &str, columns: &[Column]) -> String {
    let measured = Sample::MarkedLine(Pen::new(BLUE, 2.2), Marker::Circle);
    let memory = Sample::MarkedLine(Pen::new(VERMILION, 2.2), Marker::Square);
    let even = Sample::Line(proportional());
    let entry = |text: &str, draw| Entry { text: text.to_owned(), draw };
    let entries = vec![
        entry("time, seconds", measured),
        entry("memory, MiB", memory),
        entry("in proportion to the first point", even),
    ];
    let head = Head { title, how: how.to_owned(), entries };
    let top = head.height(WIDTH);
    Canvas::picture((WIDTH, top + 2.0 * ROW + 20.0), title, |canvas| {
        head.draw(canvas, WIDTH);
        let width = (WIDTH - 20.0) / columns.len().max(1) as f64;
        for (place, column) in columns.iter().enumerate() {
            let left = 58.0 + place as f64 * width;
            for row in 0..2 {
                let above = top + 30.0 + row as f64 * ROW;
                let panel = Panel {
                    left,
                    top: above,
                    right: left + width - 66.0,
                    bottom: above + ROW - 80.0,
                };
                if row == 0 {
                    let at = (panel.left, panel.top - 14.0);
                    canvas.text(at, &column.title, Font::new(12.5).bold());
                }
                draw_panel(canvas, column, row == 1, panel);
            }
        }
    })
}

fn proportional() -> Pen {
    Pen::new(MUTED, 1.2).dashed(&[3.0, 3.0])
}

fn draw_panel(canvas: &mut Canvas, column: &Column, memory: bool, panel: Panel) {
    let value = |&(x, seconds, bytes): &(f64, f64, f64)| {
        (x, if memory { bytes / f64::from(1 << 20) } else { seconds })
    };
    let points: Vec<Point> = column.points.iter().map(value).collect();
    let Some(&(first_x, first_y)) = points.first() else { return };
    let span = |of: fn(&Point) -> f64| {
        let low = points.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(of).fold(0.0, f64::max);
        (low, high.max(low * 1.01))
    };
    let (x_range, y_range) = (span(|p| p.0), span(|p| p.1));
    let y_range = (y_range.0 / 2.0, y_range.1 * 2.0);
    let x = Scale::log((x_range.0 / 1.1, x_range.1 * 1.1), (panel.left, panel.right));
    let y = Scale::log(y_range, (panel.bottom, panel.top));
    panel.y_axis(canvas, y, &round_values(y_range), true);
    let marks: Vec<(f64, String)> = points.iter().map(|p| (p.0, tick_text(p.0))).collect();
    panel.x_axis(canvas, x, &marks);
    panel.x_label(canvas, &column.x_label);
    let even = |at: f64| {
        let share = if column.falls && !memory { first_x / at } else { at / first_x };
        first_y * share
    };
    // As far as it stays inside the panel.
    let steps = (0..=40).map(|i| x_range.0 * libm::pow(x_range.1 / x_range.0, i as f64 / 40.0));
    let inside = |value: f64| (y_range.0..=y_range.1).contains(&value);
    let line: Vec<Point> =
        steps.filter(|&at| inside(even(at))).map(|at| (x.at(at), y.at(even(at)))).collect();
    canvas.line(&line, proportional());
    let (colour, marker) =
        if memory { (VERMILION, Marker::Square) } else { (BLUE, Marker::Circle) };
    let pen = Pen::new(colour, 2.2);
    let line: Vec<Point> = points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
    canvas.line(&line, pen);
    for at in line {
        canvas.mark(at, 3.4, marker, pen, true);
    }
}

/// Powers of ten in a range, and where there are fewer than two, 2 and 5 times them too.
fn round_values(range: (f64, f64)) -> Vec<f64> {
    let tens = decades(range);
    if tens.len() >= 2 {
        return tens;
    }
    let lower = decades((range.0 / 10.0, range.1));
    let all = lower.into_iter().flat_map(|ten| [1.0, 2.0, 5.0].map(|times| ten * times));
    all.filter(|value| (range.0..=range.1).contains(value)).collect()
}
