//! The action types of the [`World`](super::world::World): what its plugins say of themselves.

use pipewright_sandbox::abi::{
    ActionType, Ask, Capability, Category, Count, Description, Owner, Setting, SettingKind, TypeId, Variable,
};

fn setting(name: &str, kind: SettingKind, secret: bool) -> Setting {
    Setting {
        name: name.to_owned(),
        kind,
        required: false,
        secret,
        default: None,
        choices: Vec::new(),
        documentation: format!("The {name}."),
    }
}

fn action_type(
    category: Category,
    owner: Owner,
    provider: &str,
    counts: [u32; 4],
    settings: Vec<Setting>,
) -> ActionType {
    let [inputs_min, inputs_max, outputs_min, outputs_max] = counts;
    ActionType {
        id: TypeId { category, owner, provider: provider.to_owned(), version: "1".to_owned() },
        settings,
        inputs: Count { min: inputs_min, max: inputs_max },
        outputs: Count { min: outputs_min, max: outputs_max },
        variables: vec![Variable { name: "Count".to_owned(), documentation: "how many".to_owned() }],
        documentation: format!("{provider} does it."),
    }
}

fn plugin(name: &str, action_types: Vec<ActionType>, digest: char) -> (Description, String) {
    let ask = Ask { capability: Capability::Http("git.example".to_owned()), reason: "to fetch".to_owned() };
    let description = Description {
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        documentation: format!("The plugin {name}."),
        action_types,
        asks: vec![ask],
        may_run_again: true,
    };
    (description, digest.to_string().repeat(64))
}

/// What comes with the host.
pub fn host() -> Vec<(Description, String)> {
    let text = |name| setting(name, SettingKind::Text, false);
    let source = vec![text("Url"), setting("PollForSourceChanges", SettingKind::Boolean, false)];
    let source = action_type(Category::Source, Owner::Custom, "Repo", [0, 0, 1, 1], source);
    let build =
        vec![text("Target"), setting("Password", SettingKind::Text, true), setting("Jobs", SettingKind::Number, false)];
    let build = action_type(Category::Build, Owner::Custom, "Make", [0, 7, 0, 5], build);
    let approval = vec![text("CustomData")];
    let approval = action_type(Category::Approval, Owner::Aws, "Manual", [0, 0, 0, 0], approval);
    let rule = vec![text("Cron"), setting("Password", SettingKind::Text, true)];
    let rule = action_type(Category::Rule, Owner::Aws, "DeploymentWindow", [0, 1, 0, 0], rule);
    let tools = vec![source, build, rule];
    vec![plugin("pipewright/tools", tools, 'a'), plugin("pipewright/approval", vec![approval], 'b')]
}

/// What the account [`B`](super::world::B) has installed.
pub fn installed() -> Vec<(Description, String)> {
    let many = (0..12).map(|number| setting(&format!("S{number:02}"), SettingKind::List, number == 11)).collect();
    let deploy = action_type(Category::Deploy, Owner::ThirdParty, "Ship", [1, 1, 0, 0], many);
    let gate = action_type(Category::Rule, Owner::Custom, "Gate", [0, 1, 0, 0], Vec::new());
    vec![plugin("team/ship", vec![deploy, gate], 'c')]
}

/// So many types of one plugin.
pub fn many(count: u32) -> Vec<(Description, String)> {
    let of = |number| action_type(Category::Test, Owner::Custom, &format!("T{number:03}"), [0, 0, 0, 0], Vec::new());
    vec![plugin("team/many", (0..count).map(of).collect(), 'd')]
}

/// A source that a connection reaches, which cannot be polled.
pub fn connected() -> Vec<(Description, String)> {
    let settings = ["ConnectionArn", "FullRepositoryId", "BranchName", "DetectChanges"];
    let settings = settings.map(|name| setting(name, SettingKind::Text, false)).into();
    let source = action_type(Category::Source, Owner::Aws, "CodeStarSourceConnection", [0, 0, 1, 1], settings);
    vec![plugin("pipewright/git", vec![source], 'e')]
}

/// What runs programs.
pub fn commands() -> Vec<(Description, String)> {
    let commands = [Category::Compute, Category::Rule]
        .map(|category| action_type(category, Owner::Aws, "Commands", [0, 5, 0, 5], Vec::new()));
    let (mut description, digest) = plugin("pipewright/commands", commands.into(), 'f');
    description.asks[0].capability = Capability::Commands;
    vec![(description, digest)]
}
