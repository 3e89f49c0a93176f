//! Validation of a pipeline: every problem of a document at once, each with its place, its AWS error class and its mend.
//!
//! Owns what a problem is and the order of judgement: shapes first (`shapes`, read by `shape`), then the rules between members
//! (`rules`). Must not know who asks: the API answers with `Problems::error`, the command line lists them all. The cost is
//! linear in the document (times its logarithm); the caller limits the document's size.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::action_type::{ActionTypeInfo, ActionTypes, edits};
use crate::declaration::{ActionTypeId, CreatePipelineInput, ExecutionMode, PipelineDeclaration, PipelineType};
use crate::machine;

mod action_types;
mod actions;
mod conditions;
mod references;
mod rules;
pub(crate) mod shape;
pub(crate) mod shapes;
mod structure;
mod unsupported;

pub use rules::{RULES, Rule};
use shape::{Member, Reader, Shape};
pub use unsupported::unsupported;

/// Beside the pipeline in what GetPipeline gives.
const METADATA: &str = "metadata";
/// As many problems are told as a person could want; the rest of the document is not judged then. Stops a document of
/// megabytes of tiny mistakes from becoming gigabytes of messages.
const PROBLEMS_MAX: usize = 1000;

/// What a pipeline is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The region that the pipeline lives in; where there is none, what depends on it is not judged.
    pub region: Option<&'a str>,
    /// The action types that plugins serve; where none serves a type, the table of AWS's own counts (S22).
    pub action_types: &'a ActionTypes,
}

impl<'a> Context<'a> {
    fn bound(&self, id: &ActionTypeId) -> Option<&'a ActionTypeInfo> {
        self.action_types.get(id)
    }
}

/// The exceptions of CreatePipeline and UpdatePipeline that a declaration by itself can cause (S120).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    Validation,
    InvalidStructure,
    InvalidStageDeclaration,
    InvalidActionDeclaration,
    InvalidBlockerDeclaration,
    TooManyTags,
    InvalidTags,
}

/// The exception's name: `ValidationException`.
impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}Exception")
    }
}

/// One thing that is wrong with a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub class: ErrorClass,
    /// where in the document: `pipeline.stages[1].actions[0].configuration`
    pub path: String,
    /// what is wrong, in AWS's words where they are known
    pub message: String,
    /// what to do about it
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}): {}", self.path, self.message.trim_end(), self.class, self.mend)
    }
}

/// All that is wrong with a pipeline: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    problems: Vec<Problem>,
    /// AWS's words for the problems of shape
    constraints: Vec<String>,
}

/// One problem on each line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))?;
        if lines.len() < PROBLEMS_MAX {
            Ok(())
        } else {
            write!(f, "\nand perhaps more: {PROBLEMS_MAX} are told at most")
        }
    }
}

impl Problems {
    /// Problems of shape in the document's order, then those of the rules in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }

    /// What the API answers with: all problems of shape in one ValidationException, else the first of the others (S121).
    pub fn error(&self) -> (ErrorClass, String) {
        match (self.constraints.len(), self.problems.first()) {
            (0, Some(first)) => (first.class, first.message.clone()),
            (count, _) => {
                let errors = if count == 1 { "error" } else { "errors" };
                let constraints = self.constraints.join("; ");
                (ErrorClass::Validation, format!("{count} validation {errors} detected: {constraints}"))
            }
        }
    }
}

/// Judges a PipelineDeclaration. A `version` is read and forgotten: the server gives it (S17).
pub fn validate(pipeline: &Value, context: &Context<'_>) -> Result<PipelineDeclaration, Problems> {
    validate_input(&serde_json::json!({ "pipeline": pipeline }), context).map(|input| input.pipeline)
}

/// Judges the input of CreatePipeline: `{"pipeline": …, "tags": …}`.
pub fn validate_input(input: &Value, context: &Context<'_>) -> Result<CreatePipelineInput, Problems> {
    judge(&shapes::CREATE_PIPELINE_INPUT, input, context)
}

/// Judges the input of UpdatePipeline: `{"pipeline": …}`; `tags` are an unknown member there, and ignored.
pub fn validate_update(input: &Value, context: &Context<'_>) -> Result<PipelineDeclaration, Problems> {
    judge(&shapes::UPDATE_PIPELINE_INPUT, input, context).map(|input| input.pipeline)
}

/// Judges a document that holds either of the two, as people keep them in files.
pub fn validate_document(document: &Value, context: &Context<'_>) -> Result<PipelineDeclaration, Problems> {
    match document.get("pipeline") {
        Some(_) => validate_input(document, context).map(|input| input.pipeline),
        None => validate(document, context),
    }
}

/// The members of such a document that mean nothing. A request may have them (S4); whoever keeps a file has misspelled them.
/// What GetPipeline gives beside the pipeline is no mistake.
pub fn unknown_members(document: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = |path: String, members: &[Member]| {
        let (_, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let edits = |member: &&Member| edits(&member.name.to_lowercase(), &name.to_lowercase());
        let nearest = members.iter().min_by_key(edits).filter(|nearest| 2 * edits(nearest) < name.len());
        let mend = nearest.map_or("leave it out".to_owned(), |nearest| format!("perhaps `{}` is meant", nearest.name));
        let message = "no member of this name means anything here".to_owned();
        if path != METADATA && problems.len() < PROBLEMS_MAX {
            problems.push(Problem { class: ErrorClass::Validation, path, message, mend });
        }
    };
    match document.get("pipeline") {
        Some(_) => shapes::CREATE_PIPELINE_INPUT.unknown_members(document, "", &mut found),
        None => shapes::PIPELINE_DECLARATION.unknown_members(document, "pipeline", &mut found),
    }
    problems
}

fn judge(shape: &'static Shape, input: &Value, context: &Context<'_>) -> Result<CreatePipelineInput, Problems> {
    let mut reader = Reader::default();
    let mut input: CreatePipelineInput = typed(reader.document(shape, input), &mut reader)?;
    let Reader { mut problems, constraints, unread } = reader;
    rules::judge(&input, context, &unread, &mut problems);
    if !problems.is_empty() {
        return Err(Problems { problems, constraints });
    }
    input.pipeline.version = None;
    Ok(input)
}

/// Reads a document that only has a shape, and no rules.
pub(crate) fn read<T: DeserializeOwned>(shape: &'static Shape, document: &Value) -> Result<T, Problems> {
    let mut reader = Reader::default();
    let input = typed(reader.document(shape, document), &mut reader)?;
    match reader.problems.is_empty() {
        true => Ok(input),
        false => Err(reader.into()),
    }
}

fn typed<T: DeserializeOwned>(read: Value, reader: &mut Reader) -> Result<T, Problems> {
    serde_json::from_value(read).map_err(|error| {
        // The table and the types disagree: a defect here, and still no reason to panic on a document.
        let mut reader = std::mem::take(reader);
        reader.constraints.push(error.to_string());
        let (path, message) = ("input".to_owned(), error.to_string());
        let mend = "write what the operation's input has".to_owned();
        reader.problems.push(Problem { class: ErrorClass::Validation, path, message, mend });
        reader.into()
    })
}

impl From<Reader> for Problems {
    fn from(reader: Reader) -> Problems {
        Problems { problems: reader.problems, constraints: reader.constraints }
    }
}

/// An action or a rule whose type no plugin serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbound {
    /// where in the document: `pipeline.stages[1].actions[0].actionTypeId`
    pub path: String,
    pub id: ActionTypeId,
}

/// Every action and rule that cannot run here because no plugin serves its type, AWS's own types included. Not a fault of the
/// declaration: whoever wants to run it needs to bind the types.
pub fn unbound(pipeline: &PipelineDeclaration, context: &Context<'_>) -> Vec<Unbound> {
    let types = machine::all(pipeline).map(|placed| {
        let path = format!("{}.{}TypeId", placed.path(), placed.declared.kind());
        Unbound { path, id: placed.declared.type_id() }
    });
    types.filter(|it| context.bound(&it.id).is_none()).collect()
}

/// The declaration as CodePipeline gives it back, with the defaults filled in (S23).
pub fn with_defaults(pipeline: &PipelineDeclaration) -> PipelineDeclaration {
    let mut pipeline = pipeline.clone();
    pipeline.version.get_or_insert(1);
    pipeline.execution_mode.get_or_insert_with(ExecutionMode::default);
    pipeline.pipeline_type.get_or_insert_with(PipelineType::default);
    for action in pipeline.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
        action.run_order = Some(action.run_order());
        action.configuration.get_or_insert_default();
        action.input_artifacts.get_or_insert_default();
        action.output_artifacts.get_or_insert_default();
    }
    pipeline
}

#[cfg(test)]
mod tests;
