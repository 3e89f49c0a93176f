//! Owns the formats of coverage that count by line: LCOV, and the XML of Cobertura, JaCoCo and Clover.

use std::collections::BTreeMap;

use crate::xml::{Element, walk};
use crate::{Coverage, Covered, FILES_MAX, Mistake, NAME_BYTES_MAX, Ratio};

/// What is known of the files while a report is read.
#[derive(Default)]
pub(crate) struct Files {
    lines: Vec<Lines>,
    /// By their paths.
    places: BTreeMap<String, usize>,
}

#[derive(Default)]
pub(crate) struct Lines {
    /// Whether a line was ever reached.
    lines: BTreeMap<u32, bool>,
    /// Whether each way out of a line was taken; by a name where the report has one.
    branches: BTreeMap<(u32, String), bool>,
    /// Of a line that only says how many of its branches were taken.
    ratios: BTreeMap<u32, Ratio>,
    /// What the report sums up, where it has nothing else.
    summed: Covered,
}

impl Files {
    pub fn file(&mut self, path: &str) -> Result<&mut Lines, Mistake> {
        let place = self.place(path)?;
        Ok(&mut self.lines[place])
    }

    /// Of many lines in a row, the path is looked up once.
    fn place(&mut self, path: &str) -> Result<usize, Mistake> {
        let path = crate::cut(path, NAME_BYTES_MAX);
        if let Some(place) = self.places.get(path) {
            return Ok(*place);
        }
        if self.lines.len() >= FILES_MAX {
            return Err(Mistake::whole(format!("the report has more than {FILES_MAX} files")));
        }
        self.places.insert(path.to_owned(), self.lines.len());
        self.lines.push(Lines::default());
        Ok(self.lines.len() - 1)
    }

    pub fn coverage(self) -> Coverage {
        let covered: Vec<Covered> = self.lines.into_iter().map(Lines::covered).collect();
        Coverage { files: self.places.into_iter().map(|(path, place)| (path, covered[place])).collect() }
    }
}

impl Lines {
    pub fn line(&mut self, number: u32, is_covered: bool) {
        *self.lines.entry(number).or_default() |= is_covered;
    }

    pub fn branch(&mut self, number: u32, name: String, is_covered: bool) {
        *self.branches.entry((number, name)).or_default() |= is_covered;
    }

    fn ratio(&mut self, number: u32, ratio: Ratio) {
        let kept = self.ratios.entry(number).or_default();
        // Of two tellings the better one: which ways they mean is not known.
        kept.total = kept.total.max(ratio.total);
        kept.covered = kept.covered.max(ratio.covered).min(kept.total);
    }

    fn covered(self) -> Covered {
        let count = |all: &mut dyn Iterator<Item = bool>| {
            let mut ratio = Ratio::default();
            for is_covered in all {
                ratio.add(Ratio { covered: u64::from(is_covered), total: 1 });
            }
            ratio
        };
        let mut covered =
            Covered { lines: count(&mut self.lines.into_values()), branches: count(&mut self.branches.into_values()) };
        self.ratios.into_values().for_each(|ratio| covered.branches.add(ratio));
        Covered {
            lines: if covered.lines.total == 0 { self.summed.lines } else { covered.lines },
            branches: if covered.branches.total == 0 { self.summed.branches } else { covered.branches },
        }
    }
}

pub(crate) fn lcov(text: &str) -> Result<Coverage, Mistake> {
    let mut files = Files::default();
    let mut place = None;
    let mut is_lcov = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let broken = || Mistake {
            line: u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1),
            message: format!("`{}` is no record of LCOV", line.chars().take(80).collect::<String>()),
        };
        if line == "end_of_record" {
            place = None;
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            return Err(broken());
        };
        if key == "SF" {
            place = Some(files.place(value)?);
            is_lcov = true;
        }
        let Some(place) = place else { continue };
        let file = &mut files.lines[place];
        let count = value.parse::<u64>();
        match key {
            "DA" => {
                let mut parts = value.split(',');
                let number = parts.next().and_then(|it| it.parse().ok()).ok_or_else(broken)?;
                let hits: f64 = parts.next().and_then(|it| it.parse().ok()).ok_or_else(broken)?;
                file.line(number, hits > 0.0);
            }
            "BRDA" => {
                let (number, rest) = value.split_once(',').ok_or_else(broken)?;
                let (name, taken) = rest.rsplit_once(',').ok_or_else(broken)?;
                let number = number.parse().map_err(|_| broken())?;
                file.branch(number, name.to_owned(), !matches!(taken, "-" | "0"));
            }
            "LF" => file.summed.lines.total = count.map_err(|_| broken())?,
            "LH" => file.summed.lines.covered = count.map_err(|_| broken())?,
            "BRF" => file.summed.branches.total = count.map_err(|_| broken())?,
            "BRH" => file.summed.branches.covered = count.map_err(|_| broken())?,
            _ => {}
        }
    }
    if !is_lcov && !text.trim().is_empty() {
        return Err(Mistake::whole("the report has no `SF:` record: is the format right?"));
    }
    Ok(files.coverage())
}

pub(crate) fn cobertura(text: &str) -> Result<Coverage, Mistake> {
    let mut files = Files::default();
    walk(text, &["coverage"], |element, above| {
        let path = above.nearest("class").and_then(|class| class.attribute("filename")).unwrap_or_default();
        // Methods say the same lines again.
        if element.name != "line" || above.nearest("method").is_some() || path.is_empty() {
            return Ok(());
        }
        let Some(number) = element.number("number") else { return Ok(()) };
        let file = files.file(path)?;
        file.line(number, element.number::<f64>("hits").is_some_and(|hits| hits > 0.0));
        if let Some(ratio) = element.attribute("condition-coverage").and_then(conditions) {
            file.ratio(number, ratio);
        }
        Ok(())
    })?;
    Ok(files.coverage())
}

/// `50% (1/2)`.
fn conditions(text: &str) -> Option<Ratio> {
    let (covered, total) = text.split_once('(')?.1.split_once(')')?.0.split_once('/')?;
    Some(Ratio { covered: covered.trim().parse().ok()?, total: total.trim().parse().ok()? })
}

pub(crate) fn jacoco(text: &str) -> Result<Coverage, Mistake> {
    let mut files = Files::default();
    // Of the file whose end has not come.
    let mut summed = None;
    walk(text, &["report"], |element, above| {
        match (element.name.as_str(), above.parent()) {
            ("counter", "sourcefile") => {
                let (missed, covered) = (element.number("missed").unwrap_or(0), element.number("covered").unwrap_or(0));
                let ratio = Ratio { covered, total: u64::saturating_add(missed, covered) };
                let summed = summed.get_or_insert_with(Covered::default);
                match element.attribute("type") {
                    Some("LINE") => summed.lines = ratio,
                    Some("BRANCH") => summed.branches = ratio,
                    _ => {}
                }
                return Ok(());
            }
            ("sourcefile", _) => {}
            _ => return Ok(()),
        }
        let Some(summed) = summed.take() else { return Ok(()) };
        let package = above.attribute_of("package", "name");
        // The same package can be in several modules, each with a file of that name.
        let module = above.attribute_of("group", "name");
        let name = element.attribute_text("name");
        let path: Vec<_> = [module, package, name].into_iter().filter(|part| !part.is_empty()).collect();
        files.file(&path.join("/"))?.summed = summed;
        Ok(())
    })?;
    Ok(files.coverage())
}

pub(crate) fn clover(text: &str) -> Result<Coverage, Mistake> {
    let mut files = Files::default();
    walk(text, &["coverage"], |element, above| {
        if element.name != "line" {
            return Ok(());
        }
        let (Some(file), Some(number)) = (above.nearest("file"), element.number("num")) else { return Ok(()) };
        let file = files.file(file.attribute("path").or(file.attribute("name")).unwrap_or_default())?;
        let is_reached = |name: &str| count(element, name) > 0;
        if element.attribute("type") == Some("cond") {
            file.line(number, is_reached("truecount") || is_reached("falsecount") || is_reached("count"));
            for name in ["truecount", "falsecount"] {
                file.branch(number, name.to_owned(), is_reached(name));
            }
        } else {
            file.line(number, is_reached("count"));
        }
        Ok(())
    })?;
    Ok(files.coverage())
}

fn count(line: &Element, name: &str) -> u64 {
    line.number(name).unwrap_or(0)
}
