//! Where the symbolic links of a repository lead.

use std::borrow::Cow;

/// The target that a link has in an artifact, which takes `..` only at the start of one: `a/../b` becomes `b` where `a` is a
/// folder. `is_folder` is about paths below the top; links are no folders.
///
/// # Errors
/// Why it cannot be there, for a message: "which …".
pub fn target<'t>(path: &str, target: &'t str, is_folder: impl Fn(&str) -> bool) -> Result<Cow<'t, str>, &'static str> {
    if target.starts_with('/') {
        return Err("which is absolute");
    }
    if target.is_empty() || target.contains('\0') {
        return Err("which is no path");
    }
    let folder: Vec<&str> = path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect();
    let (mut at, mut named, mut is_plain) = (folder.clone(), 0_usize, true);
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                if named > 0 {
                    if !is_folder(&at.join("/")) {
                        return Err("which has `..` behind what is no folder here");
                    }
                    (named, is_plain) = (named - 1, false);
                }
                at.pop().ok_or("which leads out")?;
            }
            name => {
                at.push(name);
                named += 1;
            }
        }
    }
    if is_plain {
        return Ok(target.into());
    }
    let shared = folder.iter().zip(&at).take_while(|(one, other)| one == other).count();
    let names: Vec<&str> = folder[shared..].iter().map(|_| "..").chain(at[shared..].iter().copied()).collect();
    Ok(if names.is_empty() { ".".into() } else { names.join("/").into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let is_folder = |path: &str| ["docs", "docs/deep", "img"].contains(&path);
        let check = |path: &str, to: &str, expected: &str| {
            assert_eq!(target(path, to, is_folder).as_deref().unwrap_or_else(|why| why), expected, "{path} to {to}");
        };
        for plain in ["b.md", "./b.md", "../img//x.png", "..", "deep/", "gone.md", "deep/gone/x"] {
            check("docs/a.md", plain, plain);
        }
        check("docs/a.md", "deep/../b.md", "b.md");
        check("docs/a.md", "deep/../../img/x.png", "../img/x.png");
        check("docs/deep/a", "../../docs/./deep/../b.md", "../b.md");
        check("docs/a", "deep/..", ".");
        check("a", "docs/../docs/deep", "docs/deep");
        check("docs/a.md", "gone/../b.md", "which has `..` behind what is no folder here");
        check("docs/a.md", "../..", "which leads out");
        check("docs/a.md", "deep/../../../x", "which leads out");
        check("docs/a.md", "/docs/b.md", "which is absolute");
        check("docs/a.md", "", "which is no path");
    }
}
