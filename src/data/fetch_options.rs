//! How to download.

use std::time::Duration;

/// How to download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// A mirror to use instead of the official address. What it serves must have the same digest.
    pub url: Option<String>,
    /// Proxy, as in `http://host:port`. The library looks at no environment variable.
    pub proxy: Option<String>,
    /// Consecutive attempts without progress before giving up.
    pub attempts: u32,
    /// Wait after the first failure; doubled after each further one, up to a minute.
    pub pause: Duration,
    /// Longest silence of the server.
    pub patience: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            url: None,
            proxy: None,
            attempts: 5,
            pause: Duration::from_secs(2),
            patience: Duration::from_secs(60),
        }
    }
}
