//! Work on many small items on every core, with the memory of a few.

/// Works on `batch` items a thread at a time, and hands on the results in the order of the items.
///
/// # Errors
/// The first error of `each`; nothing is worked on after it but the items under way.
pub(super) fn in_order<I: Sync, T: Send, E>(
    items: &[I],
    batch: usize,
    work: impl Fn(&I) -> T + Sync,
    mut each: impl FnMut(&I, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = &work;
    for chunk in items.chunks(batch * threads) {
        let results: Vec<T> = std::thread::scope(|scope| {
            let workers: Vec<_> = chunk
                .chunks(batch)
                .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<T>>()))
                .collect();
            let results = workers.into_iter().map(|worker| worker.join());
            results
                .flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        for (item, result) in chunk.iter().zip(results) {
            each(item, result)?;
        }
    }
    Ok(())
}
