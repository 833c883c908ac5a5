//! Colours that colour-blind readers tell apart (Okabe and Ito), with a line style and a
//! marker each, so that no figure rests on colour alone.

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

pub const INK: Rgb = (0x1b, 0x1f, 0x24);
pub const MUTED: Rgb = (0x5b, 0x63, 0x6e);
pub const AXIS: Rgb = (0x9a, 0xa1, 0xab);
pub const GRID: Rgb = (0xe6, 0xe8, 0xec);
pub const PAPER: Rgb = (0xff, 0xff, 0xff);
pub const SHADE: Rgb = (0xf5, 0xf6, 0xf8);
const BLACK: Rgb = (0, 0, 0);

pub const BLUE: Rgb = (0x00, 0x72, 0xb2);
pub const VERMILION: Rgb = (0xd5, 0x5e, 0x00);
const GREEN: Rgb = (0x00, 0x9e, 0x73);
const PURPLE: Rgb = (0xcc, 0x79, 0xa7);
const ORANGE: Rgb = (0xe6, 0x9f, 0x00);
const SKY: Rgb = (0x56, 0xb4, 0xe9);

/// For anything but the initializations, whose two colours mean nothing else.
const CYCLE: [Rgb; 5] = [GREEN, PURPLE, ORANGE, SKY, MUTED];

/// Colour of the level `id` at `place` of its axis. The two initializations have the same
/// colour in every figure.
pub fn colour(id: &str, place: usize) -> Rgb {
    match id {
        "random" => BLUE,
        "adversarial" => VERMILION,
        _ => CYCLE[place % CYCLE.len()],
    }
}

/// `colour`, dark enough to be read as text on white: mixed with [`INK`].
pub fn as_text(colour: Rgb) -> Rgb {
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * 0.32).round() as u8;
    (mix(colour.0, INK.0), mix(colour.1, INK.1), mix(colour.2, INK.2))
}

/// How a line is drawn: lengths of strokes and gaps in pixels; empty is solid.
pub fn dashes(place: usize) -> &'static [f64] {
    const STYLES: [&[f64]; 5] =
        [&[], &[7.0, 3.5], &[2.0, 2.5], &[9.0, 3.0, 2.0, 3.0], &[12.0, 3.0]];
    STYLES[place % STYLES.len()]
}

/// Shape of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Diamond,
    Triangle,
}

/// Marker of the level at `place`.
pub fn marker(place: usize) -> Marker {
    [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond][place % 4]
}

/// A sequential colour map whose equal steps look equal: a straight line in OKLab from dark
/// blue to yellow (the ends of cividis), readable for colour-blind eyes and in grey.
pub fn sequential(share: f64) -> Rgb {
    const LOW: [f64; 3] = [0.0, 0.133, 0.306];
    const HIGH: [f64; 3] = [0.992, 0.918, 0.271];
    let (low, high) = (to_oklab(LOW), to_oklab(HIGH));
    let share = share.clamp(0.0, 1.0);
    let lab: [f64; 3] = std::array::from_fn(|i| low[i] + (high[i] - low[i]) * share);
    let rgb = from_oklab(lab);
    let byte = |x: f64| (x.clamp(0.0, 1.0) * 255.0).round() as u8;
    (byte(rgb[0]), byte(rgb[1]), byte(rgb[2]))
}

/// Black or white, whichever is easier to read on `background`: with this border the
/// contrast is never below 4.5, which people with weak eyes need.
pub fn text_on(background: Rgb) -> Rgb {
    let linear = |x: u8| to_linear(f64::from(x) / 255.0);
    let (r, g, b) = background;
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    if luminance > 0.179 { BLACK } else { PAPER }
}

// libm rather than the standard library: the same bytes on every machine.
fn to_linear(x: f64) -> f64 {
    if x <= 0.04045 { x / 12.92 } else { libm::pow((x + 0.055) / 1.055, 2.4) }
}

fn from_linear(x: f64) -> f64 {
    if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * libm::pow(x, 1.0 / 2.4) - 0.055 }
}

/// Ottosson's OKLab of an sRGB colour with channels in `[0, 1]`.
fn to_oklab(rgb: [f64; 3]) -> [f64; 3] {
    let [r, g, b] = rgb.map(to_linear);
    let l = libm::cbrt(0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b);
    let m = libm::cbrt(0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b);
    let s = libm::cbrt(0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b);
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

fn from_oklab(lab: [f64; 3]) -> [f64; 3] {
    let [light, a, b] = lab;
    let l = (light + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (light - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (light - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
    .map(from_linear)
}
