//! Owns batches: several builds of one source, as a list, a graph or a matrix, and which of them is next. Knows nothing of
//! what one build does.

use std::collections::BTreeMap;

use crate::problem::At;
use crate::read::{Reader, Table, Value};

/// CodeBuild starts no more builds for one batch; a matrix reaches that with few words.
pub const BUILDS_MAX: usize = 100;

pub(crate) const KEYS: &[&str] = &["fast-fail", "build-list", "build-graph", "build-matrix", "build-fanout"];
pub(crate) const LIST_BUILD: &[&str] = &["identifier", "buildspec", "debug-session", "ignore-failure", "env"];
pub(crate) const GRAPH_BUILD: &[&str] =
    &["identifier", "buildspec", "debug-session", "ignore-failure", "env", "depend-on"];
pub(crate) const ENV: &[&str] = &["compute-type", "fleet", "image", "privileged-mode", "type", "variables"];
pub(crate) const MATRIX: &[&str] = &["static", "dynamic"];
pub(crate) const STATIC: &[&str] = &["ignore-failure", "env"];
pub(crate) const STATIC_ENV: &[&str] = &["privileged-mode", "type"];
pub(crate) const DYNAMIC: &[&str] = &["buildspec", "env"];
pub(crate) const DYNAMIC_ENV: &[&str] = &["compute-type", "image", "variables"];

/// Whatever its form in the file, a batch is builds that may depend on each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The first failure ends the others.
    pub fast_fail: bool,
    pub builds: Vec<BatchBuild>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchBuild {
    pub identifier: String,
    /// A path; without one, the file that the batch is in.
    pub buildspec: Option<String>,
    pub debug_session: bool,
    /// Its failure is none of the batch.
    pub ignore_failure: bool,
    pub depend_on: Vec<String>,
    pub env: BatchEnv,
}

/// What of the project's environment is another one for a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchEnv {
    pub compute_type: Option<String>,
    pub fleet: Option<String>,
    pub image: Option<String>,
    pub privileged_mode: bool,
    pub environment_type: Option<String>,
    pub variables: Vec<(String, String)>,
}

impl Batch {
    /// The build to start next, one after another; `ended` says of builds whether they succeeded. A build whose dependency
    /// failed never starts, and none does after a failure where the batch is to fail fast.
    pub fn next(&self, ended: &BTreeMap<String, bool>) -> Option<&BatchBuild> {
        if self.fast_fail && self.builds.iter().any(|build| build.failed(ended)) {
            return None;
        }
        let is_done = |name: &String| {
            self.builds.iter().any(|it| it.identifier == *name && ended.contains_key(name) && !it.failed(ended))
        };
        let mut open = self.builds.iter().filter(|build| !ended.contains_key(&build.identifier));
        open.find(|build| build.depend_on.iter().all(is_done))
    }

    /// Once there is no next one.
    pub fn succeeded(&self, ended: &BTreeMap<String, bool>) -> bool {
        self.builds.iter().all(|build| ended.contains_key(&build.identifier) && !build.failed(ended))
    }
}

impl BatchBuild {
    fn failed(&self, ended: &BTreeMap<String, bool>) -> bool {
        ended.get(&self.identifier) == Some(&false) && !self.ignore_failure
    }
}

pub(crate) fn read(reader: &mut Reader, value: &Value<'_>) -> Option<Batch> {
    let table = reader.table(value, KEYS)?;
    let fast_fail = reader.flag(&table, "fast-fail");
    let kinds = ["build-list", "build-graph", "build-matrix", "build-fanout"].map(|kind| (kind, table.get(kind)));
    let mut kinds = kinds.into_iter().filter_map(|(kind, value)| Some((kind, value?)));
    let Some((kind, value)) = kinds.next() else {
        reader.error(table.at, "batch", "names no builds", "add one of build-list, build-graph and build-matrix");
        return None;
    };
    if let Some((other, second)) = kinds.next() {
        let message = format!("`{kind}` is there already");
        reader.error(
            second.node.at,
            &second.place,
            message,
            format!("a batch is of one kind: remove `{kind}` or `{other}`"),
        );
        return None;
    }
    let builds = match kind {
        "build-list" => listed(reader, &value, LIST_BUILD),
        "build-graph" => listed(reader, &value, GRAPH_BUILD),
        "build-matrix" => matrix(reader, &value),
        _ => {
            let mend = "split the tests with a build-list, one build for each part";
            reader.error(value.node.at, &value.place, "a fan-out of tests is not supported here", mend);
            return None;
        }
    };
    if kind == "build-graph" {
        check_graph(reader, value.node.at, &builds);
    }
    Some(Batch { fast_fail, builds })
}

fn listed(reader: &mut Reader, value: &Value<'_>, keys: &[&str]) -> Vec<BatchBuild> {
    let items = reader.list(value);
    if items.len() > BUILDS_MAX {
        reader.error(value.node.at, &value.place, format!("more than {BUILDS_MAX} builds"), "make two batches of it");
        return Vec::new();
    }
    let mut builds: Vec<BatchBuild> = Vec::new();
    for item in items {
        let Some(table) = reader.table(&item, keys) else { continue };
        let identifier = reader.optional_text(&table, "identifier").unwrap_or_default();
        if identifier.is_empty() {
            let place = format!("{}.identifier", item.place);
            reader.error(item.node.at, &place, "is missing", "give each build a name of its own");
        } else if builds.iter().any(|build| build.identifier == identifier) {
            let message = format!("another build is called `{identifier}`");
            reader.error(item.node.at, &item.place, message, "give each build a name of its own");
        }
        builds.push(BatchBuild {
            identifier,
            buildspec: reader.optional_text(&table, "buildspec"),
            debug_session: reader.flag(&table, "debug-session"),
            ignore_failure: reader.flag(&table, "ignore-failure"),
            depend_on: reader.texts(&table, "depend-on"),
            env: table.get("env").map(|value| environment(reader, &value)).unwrap_or_default(),
        });
    }
    builds
}

fn environment(reader: &mut Reader, value: &Value<'_>) -> BatchEnv {
    let Some(table) = reader.table(value, ENV) else { return BatchEnv::default() };
    if let (Some(_), Some(fleet)) = (table.get("compute-type"), table.get("fleet")) {
        reader.error(
            fleet.node.at,
            &fleet.place,
            "`compute-type` is given too",
            "a fleet has its own: remove one of them",
        );
    }
    BatchEnv {
        compute_type: reader.optional_text(&table, "compute-type"),
        fleet: reader.optional_text(&table, "fleet"),
        image: reader.optional_text(&table, "image"),
        privileged_mode: reader.flag(&table, "privileged-mode"),
        environment_type: reader.optional_text(&table, "type"),
        variables: variables(reader, &table),
    }
}

fn variables(reader: &mut Reader, env: &Table<'_>) -> Vec<(String, String)> {
    let Some(value) = env.get("variables") else { return Vec::new() };
    let entries = reader.entries(&value);
    entries.into_iter().filter_map(|(name, _, value)| Some((name.to_owned(), reader.text(&value)?))).collect()
}

/// Every build depends on builds that are there, and none on itself by any way.
fn check_graph(reader: &mut Reader, at: At, builds: &[BatchBuild]) {
    let place = "batch.build-graph";
    let mut is_whole = true;
    for build in builds {
        let unknown = build.depend_on.iter().filter(|name| builds.iter().all(|other| other.identifier != **name));
        for name in unknown {
            is_whole = false;
            let message = format!("`{}` depends on `{name}`, which is not there", build.identifier);
            reader.error(at, place, message, "name builds of this graph by their identifiers");
        }
    }
    let batch = Batch { fast_fail: false, builds: builds.to_vec() };
    let mut ended = BTreeMap::new();
    while let Some(next) = batch.next(&ended) {
        ended.insert(next.identifier.clone(), true);
    }
    if let (true, Some(first)) = (is_whole, builds.iter().find(|build| !ended.contains_key(&build.identifier))) {
        let message = format!("`{}` waits for itself, by way of what it depends on", first.identifier);
        reader.error(at, place, message, "remove one `depend-on` of the circle");
    }
}

type Set = Box<dyn Fn(&mut BatchBuild, String)>;

/// One list of values, and how a build is told its value.
struct Axis {
    values: Vec<String>,
    set: Set,
}

fn matrix(reader: &mut Reader, value: &Value<'_>) -> Vec<BatchBuild> {
    let Some(table) = reader.table(value, MATRIX) else { return Vec::new() };
    let mut common = BatchBuild::default();
    if let Some(fixed) = table.get("static").and_then(|value| reader.table(&value, STATIC)) {
        common.ignore_failure = reader.flag(&fixed, "ignore-failure");
        if let Some(env) = fixed.get("env").and_then(|value| reader.table(&value, STATIC_ENV)) {
            common.env.privileged_mode = reader.flag(&env, "privileged-mode");
            common.env.environment_type = reader.optional_text(&env, "type");
        }
    }
    let axes = table.get("dynamic").map(|value| axes(reader, &value)).unwrap_or_default();
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > BUILDS_MAX) {
        reader.error(
            value.node.at,
            &value.place,
            format!("more than {BUILDS_MAX} builds"),
            "give its lists fewer values",
        );
        return Vec::new();
    }
    let mut builds = vec![common];
    for axis in axes {
        let each = |build: &BatchBuild| -> Vec<BatchBuild> {
            let with = |value: &String| {
                let mut build = build.clone();
                (axis.set)(&mut build, value.clone());
                build
            };
            axis.values.iter().map(with).collect()
        };
        builds = builds.iter().flat_map(each).collect();
    }
    for (number, build) in builds.iter_mut().enumerate() {
        build.identifier = format!("build_{}", number + 1);
    }
    builds
}

fn axes(reader: &mut Reader, value: &Value<'_>) -> Vec<Axis> {
    let Some(dynamic) = reader.table(value, DYNAMIC) else { return Vec::new() };
    let mut axes = Vec::new();
    let mut add = |values: Vec<String>, set: Set| {
        if !values.is_empty() {
            axes.push(Axis { values, set });
        }
    };
    add(reader.texts(&dynamic, "buildspec"), Box::new(|build, value| build.buildspec = Some(value)));
    if let Some(env) = dynamic.get("env").and_then(|value| reader.table(&value, DYNAMIC_ENV)) {
        add(reader.texts(&env, "compute-type"), Box::new(|build, value| build.env.compute_type = Some(value)));
        add(reader.texts(&env, "image"), Box::new(|build, value| build.env.image = Some(value)));
        if let Some(variables) = env.get("variables") {
            for (name, _, value) in reader.entries(&variables) {
                let items = reader.list(&value);
                let values = items.iter().filter_map(|item| reader.text(item)).collect();
                let name = name.to_owned();
                add(values, Box::new(move |build, value| build.env.variables.push((name.clone(), value))));
            }
        }
    }
    axes
}
