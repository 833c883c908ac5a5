#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bgm_fuzz::targets::declarations(data));
