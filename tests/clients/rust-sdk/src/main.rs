//! The life of a pipeline as the AWS SDK for Rust drives it: `client-rust-sdk ENDPOINT CREDENTIALS`. Says nothing, and exits with 0, where
//! every answer is as it is to be. The server's configuration gives grants to the pipeline `released`.

use std::error::Error;
use std::time::Duration;

use aws_sdk_codepipeline::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_codepipeline::types::{
    ActionCategory, ActionDeclaration, ActionExecutionFilter, ActionExecutionStatus, ActionOwner, ActionTypeId,
    ApprovalResult, ApprovalStatus, ArtifactStore, ArtifactStoreType, ExecutionMode, InputArtifact, OutputArtifact,
    PipelineDeclaration, PipelineExecutionStatus, PipelineType, PipelineVariable, PipelineVariableDeclaration,
    StageDeclaration, StageRetryMode, StageTransitionType, Tag, TriggerType,
};
use aws_sdk_codepipeline::{Client, Config};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NAME: &str = "released";
/// Only what hangs takes this long.
const ATTEMPTS_MAX: u32 = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(file)) = (arguments.next(), arguments.next()) else { return Err("two arguments".into()) };
    let story = Story { client: client(endpoint, &std::fs::read_to_string(file)?) };
    story.is_created().await?;
    let execution = story.is_started_stopped_and_retried().await?;
    story.is_listed(&execution).await?;
    story.is_changed_and_deleted().await
}

fn client(endpoint: String, credentials: &str) -> Client {
    let setting = |name: &str| {
        let lines = credentials.lines().filter_map(|line| line.split_once('='));
        lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
    };
    let (id, secret) = (setting("aws_access_key_id"), setting("aws_secret_access_key"));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(id, secret, None, None, "file"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn action(name: &str, category: ActionCategory, owner: ActionOwner, provider: &str) -> Outcome<ActionDeclaration> {
    let id = ActionTypeId::builder().category(category).owner(owner).provider(provider).version("1").build()?;
    let mut action = ActionDeclaration::builder().name(name).action_type_id(id);
    action = match name {
        "Get" => action.output_artifacts(OutputArtifact::builder().name("Code").build()?),
        "Publish" => action.input_artifacts(InputArtifact::builder().name("Code").build()?),
        _ => action,
    };
    Ok(action.build()?)
}

fn declaration(name: &str, mode: ExecutionMode) -> Outcome<PipelineDeclaration> {
    let store = ArtifactStore::builder().r#type(ArtifactStoreType::S3).location("artifacts").build()?;
    let stages = [
        ("Source", action("Get", ActionCategory::Source, ActionOwner::Custom, "Directory")?),
        ("Ask", action("Ask", ActionCategory::Approval, ActionOwner::Aws, "Manual")?),
        ("Ship", action("Publish", ActionCategory::Deploy, ActionOwner::Custom, "Directory")?),
    ];
    let mut pipeline = PipelineDeclaration::builder()
        .name(name)
        .role_arn("arn:aws:iam::000000000000:role/pipeline")
        .artifact_store(store)
        .pipeline_type(PipelineType::V2)
        .execution_mode(mode)
        .variables(PipelineVariableDeclaration::builder().name("Colour").default_value("blue").build()?);
    for (stage, action) in stages {
        pipeline = pipeline.stages(StageDeclaration::builder().name(stage).actions(action).build()?);
    }
    Ok(pipeline.build()?)
}

struct Story {
    client: Client,
}

impl Story {
    async fn is_created(&self) -> Outcome {
        let tag = Tag::builder().key("team").value("web").build()?;
        let create = || self.client.create_pipeline();
        let created = create().pipeline(declaration(NAME, ExecutionMode::Queued)?).tags(tag).send().await?;
        assert_eq!(created.pipeline().and_then(PipelineDeclaration::version), Some(1));
        let twice = create().pipeline(declaration(NAME, ExecutionMode::Queued)?).send().await;
        assert!(twice.unwrap_err().into_service_error().is_pipeline_name_in_use_exception());
        let wrong = create().pipeline(declaration("a b", ExecutionMode::Queued)?).send().await;
        assert!(wrong.unwrap_err().into_service_error().is_validation_exception());

        let listed = self.client.list_pipeline_executions().pipeline_name(NAME).into_paginator().items().send();
        let listed = listed.collect::<Result<Vec<_>, _>>().await?;
        let [first] = &listed[..] else { panic!("{listed:?}") };
        assert_eq!(first.trigger().and_then(|it| it.trigger_type()), Some(&TriggerType::CreatePipeline));
        let execution = first.pipeline_execution_id().unwrap_or_default();
        self.answer(execution, ApprovalStatus::Approved).await?;
        self.ends(execution, PipelineExecutionStatus::Succeeded).await
    }

    async fn is_started_stopped_and_retried(&self) -> Outcome<String> {
        let red = PipelineVariable::builder().name("Colour").value("red").build()?;
        let start = || self.client.start_pipeline_execution().name(NAME).client_request_token("once");
        let execution = start().variables(red).send().await?.pipeline_execution_id.unwrap_or_default();
        assert_eq!(start().send().await?.pipeline_execution_id(), Some(&*execution));
        self.token(&execution).await?;
        let stop = self.client.stop_pipeline_execution().pipeline_name(NAME).pipeline_execution_id(&execution);
        stop.abandon(true).reason("Enough").send().await?;
        self.ends(&execution, PipelineExecutionStatus::Stopped).await?;
        let retry = self.client.retry_stage_execution().pipeline_name(NAME).stage_name("Ask");
        let retried = retry.pipeline_execution_id(&execution).retry_mode(StageRetryMode::FailedActions).send().await?;
        assert_eq!(retried.pipeline_execution_id(), Some(&*execution));
        self.answer(&execution, ApprovalStatus::Rejected).await?;
        self.ends(&execution, PipelineExecutionStatus::Failed).await?;
        Ok(execution)
    }

    async fn is_listed(&self, execution: &str) -> Outcome {
        let filter = ActionExecutionFilter::builder().pipeline_execution_id(execution).build();
        let actions = self.client.list_action_executions().pipeline_name(NAME).filter(filter).max_results(1);
        let actions = actions.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await?;
        let statuses: Vec<_> = actions.iter().filter_map(|it| it.status()).collect();
        for expected in
            [ActionExecutionStatus::Succeeded, ActionExecutionStatus::Abandoned, ActionExecutionStatus::Failed]
        {
            assert!(statuses.contains(&&expected), "{statuses:?}");
        }
        let started = actions.iter().all(|it| it.start_time().is_some_and(|time| time.secs() > 1_700_000_000));
        assert!(started, "{actions:?}");
        let pipelines = self.client.list_pipelines().into_paginator().items().send();
        let pipelines = pipelines.collect::<Result<Vec<_>, _>>().await?;
        assert_eq!(pipelines.iter().filter_map(|it| it.name()).collect::<Vec<_>>(), [NAME]);
        Ok(())
    }

    async fn is_changed_and_deleted(&self) -> Outcome {
        let inbound = StageTransitionType::Inbound;
        let disable = self.client.disable_stage_transition().pipeline_name(NAME).stage_name("Ship");
        disable.transition_type(inbound.clone()).reason("freeze").send().await?;
        let state = self.client.get_pipeline_state().name(NAME).send().await?;
        let transition = state.stage_states()[2].inbound_transition_state();
        assert_eq!(transition.and_then(|it| it.disabled_reason()), Some("freeze"));
        let enable = self.client.enable_stage_transition().pipeline_name(NAME).stage_name("Ship");
        enable.transition_type(inbound).send().await?;

        // What was read is what is sent back.
        let got = self.client.get_pipeline().name(NAME).send().await?;
        let mut pipeline = got.pipeline.ok_or("no pipeline")?;
        pipeline.execution_mode = Some(ExecutionMode::Parallel);
        let updated = self.client.update_pipeline().pipeline(pipeline.clone()).send().await?.pipeline;
        pipeline.version = Some(2);
        assert_eq!(updated, Some(pipeline));

        let arn = got.metadata.and_then(|it| it.pipeline_arn).ok_or("no ARN")?;
        let more = Tag::builder().key("more").value("x").build()?;
        self.client.tag_resource().resource_arn(&arn).tags(more.clone()).send().await?;
        self.client.untag_resource().resource_arn(&arn).tag_keys("team").send().await?;
        let tags = self.client.list_tags_for_resource().resource_arn(&arn).send().await?;
        assert_eq!(tags.tags(), [more]);

        self.client.delete_pipeline().name(NAME).send().await?;
        let gone = self.client.get_pipeline().name(NAME).send().await;
        assert!(gone.unwrap_err().into_service_error().is_pipeline_not_found_exception());
        Ok(())
    }

    async fn ends(&self, execution: &str, expected: PipelineExecutionStatus) -> Outcome {
        for _ in 0..ATTEMPTS_MAX {
            let get = self.client.get_pipeline_execution().pipeline_name(NAME).pipeline_execution_id(execution);
            let status = get.send().await?.pipeline_execution.and_then(|it| it.status);
            if status.as_ref() == Some(&expected) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("waited in vain until {execution} is {expected}").into())
    }

    /// Of the approval that an execution waits for.
    async fn token(&self, execution: &str) -> Outcome<String> {
        for _ in 0..ATTEMPTS_MAX {
            let state = self.client.get_pipeline_state().name(NAME).send().await?;
            let ask = &state.stage_states()[1];
            let is_it = ask.latest_execution().is_some_and(|it| it.pipeline_execution_id() == execution);
            let token = ask.action_states()[0].latest_execution().and_then(|it| it.token());
            if let (true, Some(token)) = (is_it, token) {
                return Ok(token.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("waited in vain until {execution} waits for an approval").into())
    }

    async fn answer(&self, execution: &str, status: ApprovalStatus) -> Outcome {
        let result = ApprovalResult::builder().status(status).summary("é🦀").build()?;
        let put = self.client.put_approval_result().pipeline_name(NAME).stage_name("Ask").action_name("Ask");
        let answered = put.token(self.token(execution).await?).result(result).send().await?;
        assert!(answered.approved_at().is_some());
        Ok(())
    }
}
