//! What a declaration can say, as CodePipeline takes it, that cannot be done here yet.
//!
//! Owns the one list of it: what is on it is refused when a pipeline is created or updated, so that nothing is taken and then
//! behaves otherwise than it says, or never starts. Must not know what AWS refuses (`rules`).

use super::{ErrorClass, Problem};
use crate::declaration::PipelineDeclaration;
use crate::machine::bounds::{
    ARTIFACTS_BYTES_MAX, DECLARATION_BYTES_MAX, RUNS_COUNT_MAX, START_BYTES_MAX, artifacts_bytes, runs_count,
    text_bytes,
};

/// Everything of a valid declaration that is not supported: what could not be kept.
pub fn unsupported(pipeline: &PipelineDeclaration) -> Vec<Problem> {
    let whole = serde_json::to_vec(pipeline).map_or(usize::MAX, |json| json.len());
    let variables = pipeline.variables.iter().flatten();
    let defaults = variables.filter_map(|it| Some(text_bytes(&it.name) + text_bytes(it.default_value.as_ref()?) + 2));
    let sizes = [
        ("pipeline", "The pipeline", whole, DECLARATION_BYTES_MAX, "split it in two, or shorten its configurations"),
        (
            "pipeline.stages",
            "The output artifacts of all actions, each with its digest,",
            artifacts_bytes(pipeline),
            ARTIFACTS_BYTES_MAX,
            "declare fewer of them, or give them shorter names",
        ),
        (
            "pipeline.variables",
            "The default values of the variables",
            defaults.sum(),
            START_BYTES_MAX,
            "shorten them, or put large values into an artifact",
        ),
    ];
    let runs = runs_count(pipeline);
    let too_many = (runs > RUNS_COUNT_MAX).then(|| {
        problem(
            "pipeline.stages".to_owned(),
            format!("{runs} actions and rules: more than {RUNS_COUNT_MAX} together are not supported here"),
            "remove some, or split the pipeline in two",
        )
    });
    let too_large = sizes.into_iter().filter(|(.., bytes, bytes_max, _)| bytes > bytes_max);
    let told = too_large.map(|(path, what, bytes, bytes_max, mend)| {
        problem(
            path.to_owned(),
            format!("{what} of {bytes} bytes of JSON: more than {bytes_max} are not supported here"),
            mend,
        )
    });
    told.chain(too_many).collect()
}

fn problem(path: String, message: impl Into<String>, mend: &str) -> Problem {
    Problem { class: ErrorClass::Validation, path, message: message.into(), mend: mend.to_owned() }
}
