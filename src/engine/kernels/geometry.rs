//! Which pixels of a convolution meet under which taps, listed once.

/// Lists of pairs of positions, one list a target.
#[derive(Debug)]
pub struct Lists {
    start: Vec<u32>,
    items: Vec<(u32, u32)>,
}

impl Lists {
    /// The items `(target, item)` by target, in their order.
    fn group(targets: usize, items: &[(u32, (u32, u32))]) -> Lists {
        let mut lists = Lists { start: vec![0], items: Vec::with_capacity(items.len()) };
        let mut sorted = items.to_vec();
        sorted.sort_by_key(|&(target, _)| target);
        let mut rest = sorted.into_iter().peekable();
        for target in 0..targets as u32 {
            while let Some((_, item)) = rest.next_if(|&(of, _)| of == target) {
                lists.items.push(item);
            }
            lists.start.push(lists.items.len() as u32);
        }
        lists
    }

    pub fn targets(&self) -> usize {
        self.start.len() - 1
    }

    #[inline(always)]
    pub fn of(&self, target: usize) -> &[(u32, u32)] {
        &self.items[self.start[target] as usize..self.start[target + 1] as usize]
    }
}

/// Height and width.
pub type Size = [usize; 2];

/// The sizes that a convolution's lists follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub input: Size,
    pub output: Size,
    pub kernel: Size,
    pub stride: usize,
    pub padding: usize,
}

/// Marks a tap whose input lies in the padding.
pub const NOWHERE: u32 = u32::MAX;

/// An output pixel and the input pixels under three taps of one row of the kernel.
pub type Triple = (u32, [u32; 3]);

/// A convolution's lists. Every pixel in them is inside its image.
#[derive(Debug)]
pub struct Geometry {
    pub window: Window,
    /// For each output pixel `(input pixel, tap)`, taps ascending.
    pub forward: Lists,
    /// For each input pixel `(output pixel, tap)`, taps ascending.
    pub backward: Lists,
    /// For each tap `(input pixel, output pixel)`, output pixels ascending.
    pub by_tap: Lists,
    /// For each row of a kernel of width 3 its output pixels, ascending; none for others.
    pub triples: Vec<Vec<Triple>>,
}

impl Geometry {
    pub fn new(window: Window) -> Geometry {
        let Window { input, output, kernel, stride, padding } = window;
        // (input pixel, output pixel, tap); output pixels ascending, then taps.
        let mut all = Vec::new();
        for q in 0..output[0] * output[1] {
            for tap in 0..kernel[0] * kernel[1] {
                let along = |q: usize, tap: usize, side: usize| {
                    (q * stride + tap).checked_sub(padding).filter(|&at| at < side)
                };
                let y = along(q / output[1], tap / kernel[1], input[0]);
                let x = along(q % output[1], tap % kernel[1], input[1]);
                if let (Some(y), Some(x)) = (y, x) {
                    all.push(((y * input[1] + x) as u32, q as u32, tap as u32));
                }
            }
        }
        let forward: Vec<_> = all.iter().map(|&(p, q, tap)| (q, (p, tap))).collect();
        let mut backward: Vec<_> = all.iter().map(|&(p, q, tap)| (p, (q, tap))).collect();
        backward.sort_by_key(|&(_, (_, tap))| tap);
        let by_tap: Vec<_> = all.iter().map(|&(p, q, tap)| (tap, (p, q))).collect();
        let rows = if kernel[1] == 3 { kernel[0] } else { 0 };
        let mut triples: Vec<Vec<Triple>> = vec![Vec::new(); rows];
        for &(p, q, tap) in all.iter().filter(|_| rows > 0) {
            let (row, column) = (tap as usize / 3, tap as usize % 3);
            if triples[row].last().is_none_or(|&(last, _)| last != q) {
                triples[row].push((q, [NOWHERE; 3]));
            }
            if let Some((_, pixels)) = triples[row].last_mut() {
                pixels[column] = p;
            }
        }
        Geometry {
            window,
            forward: Lists::group(output[0] * output[1], &forward),
            backward: Lists::group(input[0] * input[1], &backward),
            by_tap: Lists::group(kernel[0] * kernel[1], &by_tap),
            triples,
        }
    }

    pub fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    pub fn input_pixels(&self) -> usize {
        self.window.input[0] * self.window.input[1]
    }

    pub fn output_pixels(&self) -> usize {
        self.window.output[0] * self.window.output[1]
    }
}
