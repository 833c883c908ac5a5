//! Marching squares: the curve where a sampled field crosses a level.

use super::canvas::Point;

/// A field sampled on a regular grid, row by row; place `(column, row)`.
pub struct Field<'a> {
    pub values: &'a [f64],
    pub columns: usize,
    pub rows: usize,
}

/// Closed curves around everything above a level, in grid places.
pub struct Region {
    /// Each ring's first point is not repeated. What is above lies on one and the same
    /// side of all of them, so holes turn the other way round than outlines.
    pub rings: Vec<Vec<Point>>,
}

impl Field<'_> {
    /// The value at a place; outside the grid everything is below.
    fn value(&self, column: i64, row: i64, level: f64) -> f64 {
        let inside =
            (0..self.columns as i64).contains(&column) && (0..self.rows as i64).contains(&row);
        if !inside {
            return f64::NEG_INFINITY;
        }
        let value = self.values[row as usize * self.columns + column as usize];
        if value.is_nan() { level - 1.0 } else { value }
    }

    /// The region where the field is at least `level`.
    pub fn above(&self, level: f64) -> Region {
        let mut next = std::collections::BTreeMap::new();
        for row in -1..self.rows as i64 {
            for column in -1..self.columns as i64 {
                for (from, to) in self.square(column, row, level) {
                    next.insert(from, to);
                }
            }
        }
        let mut rings = Vec::new();
        while let Some((&start, _)) = next.first_key_value() {
            let mut ring = Vec::new();
            let mut edge = start;
            while let Some(after) = next.remove(&edge) {
                ring.push(self.crossing(edge, level));
                edge = after;
            }
            rings.push(ring);
        }
        Region { rings }
    }

    /// Directed pieces within one square, from edge to edge, what is above on the left
    /// as seen with rows growing upwards.
    fn square(&self, column: i64, row: i64, level: f64) -> Vec<(Edge, Edge)> {
        let (c, r) = (column, row);
        let corners = [(c, r), (c + 1, r), (c + 1, r + 1), (c, r + 1)];
        let high = corners.map(|(c, r)| self.value(c, r, level) >= level);
        // The edges in the order of the corners: bottom, right, top, left.
        let edges = [
            Edge { column: c, row: r, upright: false },
            Edge { column: c + 1, row: r, upright: true },
            Edge { column: c, row: r + 1, upright: false },
            Edge { column: c, row: r, upright: true },
        ];
        // Going round, a piece starts where the corners fall and ends where they rise.
        let falls: Vec<usize> = (0..4).filter(|&i| high[i] && !high[(i + 1) % 4]).collect();
        let rises: Vec<usize> = (0..4).filter(|&i| !high[i] && high[(i + 1) % 4]).collect();
        match (falls.as_slice(), rises.as_slice()) {
            ([fall], [rise]) => vec![(edges[*fall], edges[*rise])],
            ([first, second], [..]) => {
                // A saddle: the centre says whether the high corners are joined.
                let values = corners.map(|(c, r)| self.value(c, r, level));
                let joined = values.iter().sum::<f64>() / 4.0 >= level;
                let partner = |fall: usize| if joined { (fall + 1) % 4 } else { (fall + 3) % 4 };
                [first, second].map(|&fall| (edges[fall], edges[partner(fall)])).to_vec()
            }
            _ => Vec::new(),
        }
    }

    /// Where the level lies on an edge. At the border of the grid it lies on the border.
    fn crossing(&self, edge: Edge, level: f64) -> Point {
        let Edge { column, row, upright } = edge;
        let other = if upright { (column, row + 1) } else { (column + 1, row) };
        let (a, b) = (self.value(column, row, level), self.value(other.0, other.1, level));
        let share = match (a.is_finite(), b.is_finite()) {
            (true, true) => (level - a) / (b - a),
            (true, false) => 0.0,
            _ => 1.0,
        };
        let (x, y) = (column as f64, row as f64);
        if upright { (x, y + share) } else { (x + share, y) }
    }

    /// The pieces of the rings that are a crossing and not the border of the grid.
    pub fn crossings(&self, region: &Region) -> Vec<Vec<Point>> {
        let (right, top) = ((self.columns - 1) as f64, (self.rows - 1) as f64);
        let on_border = |a: Point, b: Point| {
            (a.0 == b.0 && (a.0 == 0.0 || a.0 == right))
                || (a.1 == b.1 && (a.1 == 0.0 || a.1 == top))
        };
        let mut lines: Vec<Vec<Point>> = Vec::new();
        for ring in &region.rings {
            let mut open = false;
            for (i, &from) in ring.iter().enumerate() {
                let to = ring[(i + 1) % ring.len()];
                if on_border(from, to) {
                    open = false;
                } else if let (true, Some(line)) = (open, lines.last_mut()) {
                    line.push(to);
                } else {
                    lines.push(vec![from, to]);
                    open = true;
                }
            }
        }
        lines
    }
}

/// An edge of the grid: from its place one step to the right, or upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    column: i64,
    row: i64,
    upright: bool,
}

/// All rings as one polygon for the nonzero rule: bridges there and back have no area.
pub fn as_polygon(region: &Region) -> Vec<Point> {
    let mut outline: Vec<Point> = Vec::new();
    let mut origin = None;
    for ring in region.rings.iter().filter(|ring| !ring.is_empty()) {
        outline.extend(ring);
        outline.push(ring[0]);
        outline.push(*origin.get_or_insert(ring[0]));
    }
    outline
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(ring: &[Point]) -> f64 {
        let next = ring.iter().cycle().skip(1);
        ring.iter().zip(next).map(|(a, b)| a.0 * b.1 - a.1 * b.0).sum::<f64>() / 2.0
    }

    fn sample(columns: usize, rows: usize, field: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let places = (0..rows).flat_map(|r| (0..columns).map(move |c| (c, r)));
        places.map(|(c, r)| field(c as f64, r as f64)).collect()
    }

    #[test]
    fn a_cone_gives_a_circle() {
        let values = sample(41, 41, |x, y| 10.0 - libm::hypot(x - 20.0, y - 20.0));
        let field = Field { values: &values, columns: 41, rows: 41 };
        let region = field.above(0.0);
        assert_eq!(region.rings.len(), 1);
        for &(x, y) in &region.rings[0] {
            assert!((libm::hypot(x - 20.0, y - 20.0) - 10.0).abs() < 0.05);
        }
        assert!((area(&region.rings[0]) - 314.2).abs() < 2.0);
        assert_eq!(field.crossings(&region)[0].len(), region.rings[0].len() + 1);
    }

    #[test]
    fn a_hole_turns_the_other_way() {
        let values = sample(41, 41, |x, y| 4.0 - (libm::hypot(x - 20.0, y - 20.0) - 10.0).abs());
        let region = Field { values: &values, columns: 41, rows: 41 }.above(0.0);
        let areas: Vec<f64> = region.rings.iter().map(|ring| area(ring)).collect();
        assert_eq!(areas.len(), 2);
        assert!(areas[0] * areas[1] < 0.0, "{areas:?}");
    }

    #[test]
    fn a_straight_boundary_stops_at_the_border() {
        let values = sample(5, 4, |x, _| x - 1.5);
        let field = Field { values: &values, columns: 5, rows: 4 };
        let region = field.above(0.0);
        assert!((area(&region.rings[0]) - 7.5).abs() < 1e-12);
        let lines = field.crossings(&region);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].iter().all(|p| p.0 == 1.5));
    }

    #[test]
    fn a_field_that_is_nowhere_or_everywhere_above_has_no_crossing() {
        let field = Field { values: &[f64::NAN; 12], columns: 4, rows: 3 };
        assert!(field.above(0.5).rings.is_empty());
        let field = Field { values: &[1.0; 12], columns: 4, rows: 3 };
        let region = field.above(0.5);
        assert_eq!(area(&region.rings[0]).abs(), 6.0);
        assert!(field.crossings(&region).is_empty());
    }
}
