//! Invariants of the random crop and the flip.

use bad_global_minima::augment::{AugmentSpec, Draw, apply, draw};
use bad_global_minima::image_shape::ImageShape;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn spec(crop_padding: u32, flip: f64) -> AugmentSpec {
    AugmentSpec { crop_padding, flip }
}

fn crop(draw: Draw, padding: u32, shape: ImageShape) -> Vec<u8> {
    let image: Vec<u8> = (0..shape.values()).map(|i| (i % 255) as u8 + 1).collect();
    let mut out = vec![77; shape.values()];
    apply(draw, padding, &image, shape, &mut out);
    out
}

proptest! {
    #[test]
    fn a_crop_is_a_window_of_the_zero_padded_image(
        padding in 0u32..6, top in 0u32..12, left in 0u32..12, flip: bool,
        channels in 1usize..=3, height in 1usize..9, width in 1usize..9,
    ) {
        let shape = ImageShape { channels, height, width };
        let draw = Draw { top: top % (2 * padding + 1), left: left % (2 * padding + 1), flip };
        let out = crop(draw, padding, shape);
        // The definition, spelled out: pad, cut, mirror.
        let p = padding as usize;
        for c in 0..channels {
            let mut padded = vec![vec![0u8; width + 2 * p]; height + 2 * p];
            for y in 0..height {
                for x in 0..width {
                    let index = (c * height + y) * width + x;
                    padded[y + p][x + p] = (index % 255) as u8 + 1;
                }
            }
            for y in 0..height {
                let mut row: Vec<u8> =
                    padded[y + draw.top as usize][draw.left as usize..][..width].to_vec();
                if flip {
                    row.reverse();
                }
                prop_assert_eq!(&out[(c * height + y) * width..][..width], row.as_slice());
            }
        }
    }

    #[test]
    fn a_draw_depends_on_seed_epoch_and_example_alone(
        seed: u64, epoch in 0u64..1000, example in 0u64..100_000,
    ) {
        let s = spec(4, 0.5);
        let first = draw(&s, seed, epoch, example);
        let _unrelated = draw(&s, seed, epoch + 1, example);
        prop_assert_eq!(first, draw(&s, seed, epoch, example));
        prop_assert!(first.top <= 8 && first.left <= 8);
    }
}

#[test]
fn every_offset_is_reached_the_last_one_too() {
    let draws: Vec<Draw> = (0..4000).map(|i| draw(&spec(4, 0.5), 1, 1, i)).collect();
    let tops: BTreeSet<u32> = draws.iter().map(|d| d.top).collect();
    let lefts: BTreeSet<u32> = draws.iter().map(|d| d.left).collect();
    let all: BTreeSet<u32> = (0..=8).collect();
    assert_eq!(tops, all);
    assert_eq!(lefts, all);
}

#[test]
fn half_of_the_images_are_flipped() {
    let flipped = (0..10_000).filter(|&i| draw(&spec(4, 0.5), 1, 1, i).flip).count();
    assert!((4750..5250).contains(&flipped), "{flipped}"); // five deviations
    assert!((0..100).all(|i| !draw(&spec(4, 0.0), 1, 1, i).flip));
    assert!((0..100).all(|i| draw(&spec(4, 1.0), 1, 1, i).flip));
}

#[test]
fn no_padding_and_no_flip_change_nothing() {
    let shape = ImageShape { channels: 3, height: 4, width: 4 };
    let out = crop(Draw { top: 0, left: 0, flip: false }, 0, shape);
    assert_eq!(out, (1..=48).collect::<Vec<u8>>());
}
