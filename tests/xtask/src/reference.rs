//! `cargo xtask reference`: writes the reference of rules and packs, `docs/rules.md` and `docs/rules.zh-CN.md`.

use anyhow::{Context as _, Result, anyhow};
use gateway_rules::{Pack, REFERENCE, embedded_packs, parse_pack, reference, render};

use crate::ground::Ground;

/// Writes both pages. `cargo test -p gateway-rules` compares them.
pub(crate) fn run() -> Result<()> {
    let docs = Ground::find()?.root.join("docs");
    let packs = embedded_packs()
        .iter()
        .map(|source| {
            parse_pack(source)
                .map_err(|problems| anyhow!(render(&problems, std::slice::from_ref(source), false)))
        })
        .collect::<Result<Vec<Pack>>>()?;
    for (file, language) in REFERENCE {
        let path = docs.join(file);
        std::fs::write(&path, reference(&packs, language))
            .with_context(|| format!("write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
