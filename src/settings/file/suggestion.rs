//! Which word was meant by an unknown one.

/// The required similarity of a word; clap's own measure.
const ALIKE: f64 = 0.7;

/// "Did you mean", if one of `words` is similar to `word`.
pub(crate) fn did_you_mean<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<String> {
    let alike = words.map(|known| (strsim::jaro(word, known), known)).filter(|(alike, _)| *alike > ALIKE);
    let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.map(|(_, known)| format!("did you mean `{known}`?"))
}
