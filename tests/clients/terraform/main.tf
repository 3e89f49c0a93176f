# Every resource that AWS's provider has for what is served, with every argument, in two forms: `changed` is each of them as an update.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "endpoint" {
  type = string
}

variable "changed" {
  type    = bool
  default = false
}

provider "aws" {
  region                  = "us-east-1"
  skip_metadata_api_check = true

  default_tags {
    tags = { owner = "team" }
  }

  endpoints {
    sts          = var.endpoint
    codepipeline = var.endpoint
    codebuild    = var.endpoint
  }
}

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  role    = "arn:aws:iam::${local.account}:role/${var.changed ? "other" : "build"}"
  spec    = "version: 0.2\nphases:\n  build:\n    commands:\n      - echo hi\n"
}

output "who" {
  value = data.aws_caller_identity.current.arn
}

resource "aws_codebuild_project" "every" {
  name                   = "every"
  description            = var.changed ? "Another" : "The site"
  build_timeout          = var.changed ? 20 : 15
  queued_timeout         = var.changed ? 30 : 25
  concurrent_build_limit = var.changed ? null : 2
  badge_enabled          = var.changed
  encryption_key         = "arn:aws:kms:us-east-1:${local.account}:key/${var.changed ? "b" : "a"}"
  service_role           = local.role
  source_version         = var.changed ? "dev" : "main"
  tags                   = var.changed ? { stage = "live" } : { team = "web" }

  artifacts {
    type                   = "S3"
    location               = var.changed ? "other" : "bucket"
    name                   = var.changed ? "page" : "site"
    path                   = var.changed ? "q" : "p"
    namespace_type         = var.changed ? "NONE" : "BUILD_ID"
    packaging              = var.changed ? "NONE" : "ZIP"
    encryption_disabled    = !var.changed
    override_artifact_name = !var.changed
    artifact_identifier    = var.changed ? "page" : "site"
    bucket_owner_access    = var.changed ? "READ_ONLY" : "FULL"
  }

  secondary_artifacts {
    artifact_identifier = "docs"
    type                = "S3"
    location            = var.changed ? "other" : "bucket"
    name                = "docs"
  }

  build_batch_config {
    service_role      = local.role
    combine_artifacts = !var.changed
    timeout_in_mins   = var.changed ? 20 : 10
    restrictions {
      compute_types_allowed  = var.changed ? [] : ["BUILD_GENERAL1_SMALL"]
      maximum_builds_allowed = var.changed ? 4 : 3
    }
  }

  cache {
    type     = var.changed ? "S3" : "LOCAL"
    location = var.changed ? "bucket/cache" : null
    modes    = var.changed ? null : ["LOCAL_CUSTOM_CACHE", "LOCAL_SOURCE_CACHE"]
  }

  environment {
    type                        = "LINUX_CONTAINER"
    compute_type                = var.changed ? "BUILD_GENERAL1_LARGE" : "BUILD_GENERAL1_SMALL"
    image                       = var.changed ? "docker.io/library/alpine:3" : "docker.io/library/busybox:1"
    privileged_mode             = !var.changed
    image_pull_credentials_type = "SERVICE_ROLE"
    certificate                 = var.changed ? "bucket/b.pem" : "bucket/a.pem"
    registry_credential {
      credential          = "arn:aws:secretsmanager:us-east-1:${local.account}:secret:${var.changed ? "b" : "a"}"
      credential_provider = "SECRETS_MANAGER"
    }
    environment_variable {
      name  = "COLOUR"
      value = var.changed ? "red" : "blue"
    }
    environment_variable {
      name  = "TOKEN"
      value = "/site/token"
      type  = var.changed ? "SECRETS_MANAGER" : "PARAMETER_STORE"
    }
  }

  file_system_locations {
    identifier    = "fs"
    location      = "fs-1.efs.us-east-1.amazonaws.com:/"
    mount_point   = var.changed ? "/other" : "/mnt"
    mount_options = "nfsvers=4.1"
    type          = "EFS"
  }

  logs_config {
    cloudwatch_logs {
      group_name  = var.changed ? "others" : "builds"
      stream_name = "site"
    }
    s3_logs {
      status              = "ENABLED"
      location            = var.changed ? "bucket/others" : "bucket/logs"
      encryption_disabled = !var.changed
      bucket_owner_access = var.changed ? "READ_ONLY" : "FULL"
    }
  }

  source {
    type                = "GITHUB"
    location            = "https://git.example/${var.changed ? "page" : "site"}.git"
    git_clone_depth     = var.changed ? 0 : 1
    insecure_ssl        = !var.changed
    report_build_status = !var.changed
    buildspec           = var.changed ? "" : "spec.yml"
    auth {
      type     = "CODECONNECTIONS"
      resource = "arn:aws:codeconnections:us-east-1:${local.account}:connection/hub"
    }
    build_status_config {
      context    = var.changed ? "page" : "site"
      target_url = "https://git.example/"
    }
    git_submodules_config {
      fetch_submodules = !var.changed
    }
  }

  secondary_sources {
    source_identifier = "lib"
    type              = "GITHUB"
    location          = "https://git.example/${var.changed ? "other" : "lib"}.git"
    git_clone_depth   = 1
    git_submodules_config {
      fetch_submodules = true
    }
  }

  secondary_source_version {
    source_identifier = "lib"
    source_version    = var.changed ? "v2" : "v1"
  }

  vpc_config {
    vpc_id             = "vpc-1"
    subnets            = var.changed ? ["subnet-1"] : ["subnet-1", "subnet-2"]
    security_group_ids = ["sg-1"]
  }
}

# What is not said has the defaults of the provider and of the service. Its name is what makes another one of it.
resource "aws_codebuild_project" "least" {
  name         = var.changed ? "other" : "least"
  service_role = local.role
  artifacts {
    type = "CODEPIPELINE"
  }
  environment {
    compute_type = "BUILD_GENERAL1_SMALL"
    image        = "aws/codebuild/standard:7.0"
    type         = "LINUX_CONTAINER"
  }
  source {
    type      = "CODEPIPELINE"
    buildspec = local.spec
  }
}

resource "aws_codepipeline_custom_action_type" "rollout" {
  category      = "Deploy"
  provider_name = "Rollout"
  version       = "1"
  tags          = var.changed ? { stage = "live" } : { team = "web" }
  input_artifact_details {
    minimum_count = 0
    maximum_count = 2
  }
  output_artifact_details {
    minimum_count = 0
    maximum_count = 0
  }
  configuration_property {
    name        = "Target"
    description = "Where to"
    key         = true
    required    = true
    secret      = false
    queryable   = true
    type        = "String"
  }
  configuration_property {
    name     = "Weight"
    key      = false
    required = false
    secret   = false
    type     = "Number"
  }
  settings {
    entity_url_template    = "https://rollout.example/{Config:Target}"
    execution_url_template = "https://rollout.example/{ExternalExecutionId}"
  }
}

resource "aws_codepipeline" "least" {
  name     = var.changed ? "another" : "least"
  role_arn = local.role
  tags     = var.changed ? { stage = "live" } : { team = "web" }
  artifact_store {
    type     = "S3"
    location = var.changed ? "other" : "bucket"
  }
  stage {
    name = "Source"
    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeCommit"
      version          = "1"
      output_artifacts = ["Code"]
      configuration = {
        RepositoryName       = "site"
        BranchName           = var.changed ? "dev" : "main"
        PollForSourceChanges = false
      }
    }
  }
  stage {
    name = "Ask"
    action {
      name          = "Ask"
      category      = "Approval"
      owner         = "AWS"
      provider      = "Manual"
      version       = "1"
      run_order     = var.changed ? 2 : 1
      configuration = var.changed ? {} : { CustomData = "Really?" }
    }
  }
}

resource "aws_codepipeline" "every" {
  name           = "every"
  role_arn       = local.role
  pipeline_type  = "V2"
  execution_mode = var.changed ? "QUEUED" : "PARALLEL"
  artifact_store {
    type     = "S3"
    location = "bucket"
    encryption_key {
      id   = var.changed ? "alias/b" : "alias/a"
      type = "KMS"
    }
  }
  variable {
    name          = "Colour"
    default_value = var.changed ? "red" : "blue"
    description   = "Of the site"
  }
  variable {
    name = "Size"
  }
  trigger {
    provider_type = "CodeStarSourceConnection"
    git_configuration {
      source_action_name = "Source"
      push {
        branches {
          includes = var.changed ? ["main"] : ["main", "rel/*"]
          excludes = ["x"]
        }
        file_paths {
          includes = ["src/**"]
          excludes = ["doc/**"]
        }
      }
      push {
        tags {
          includes = ["v*"]
          excludes = ["v0*"]
        }
      }
      pull_request {
        events = ["OPEN", "UPDATED"]
        branches {
          includes = ["main"]
        }
        file_paths {
          includes = ["src/**"]
        }
      }
    }
  }
  stage {
    name = "Source"
    action {
      name             = "Source"
      category         = "Source"
      owner            = "AWS"
      provider         = "CodeStarSourceConnection"
      version          = "1"
      namespace        = "SourceVariables"
      output_artifacts = ["Code"]
      configuration = {
        ConnectionArn    = "arn:aws:codeconnections:us-east-1:${local.account}:connection/hub"
        FullRepositoryId = "team/site"
        BranchName       = "main"
        DetectChanges    = false
      }
    }
  }
  stage {
    name = "Build"
    before_entry {
      condition {
        result = var.changed ? "SKIP" : "FAIL"
        rule {
          name = "Commit"
          rule_type_id {
            category = "Rule"
            owner    = "AWS"
            provider = "VariableCheck"
            version  = "1"
          }
          configuration = {
            Variable = "#{SourceVariables.CommitId}"
            Value    = "x"
            Operator = "NE"
          }
        }
      }
    }
    on_success {
      condition {
        result = var.changed ? "ROLLBACK" : "FAIL"
        rule {
          name            = "Look"
          commands        = [var.changed ? "false" : "true"]
          input_artifacts = ["Code"]
          region          = "us-east-1"
          role_arn        = local.role
          rule_type_id {
            category = "Rule"
            owner    = "AWS"
            provider = "Commands"
            version  = "1"
          }
        }
      }
    }
    on_failure {
      result = var.changed ? null : "RETRY"
      dynamic "retry_configuration" {
        for_each = var.changed ? [] : [1]
        content {
          retry_mode = "ALL_ACTIONS"
        }
      }
      dynamic "condition" {
        for_each = var.changed ? [1] : []
        content {
          result = "ROLLBACK"
          rule {
            name          = "Hours"
            configuration = { Cron = "* * 9-17 ? * MON-FRI" }
            rule_type_id {
              category = "Rule"
              provider = "DeploymentWindow"
              version  = "1"
            }
          }
        }
      }
    }
    action {
      name             = "Build"
      category         = "Build"
      owner            = "AWS"
      provider         = "CodeBuild"
      version          = "1"
      region           = "us-east-1"
      role_arn         = local.role
      input_artifacts  = ["Code"]
      output_artifacts = ["Site"]
      configuration    = { ProjectName = aws_codebuild_project.least.name }
    }
    action {
      name               = "Ask"
      category           = "Approval"
      owner              = "AWS"
      provider           = "Manual"
      version            = "1"
      run_order          = 2
      timeout_in_minutes = var.changed ? 20 : 10
    }
  }
  stage {
    name = "Deploy"
    action {
      name            = "Rollout"
      category        = "Deploy"
      owner           = "Custom"
      provider        = aws_codepipeline_custom_action_type.rollout.provider_name
      version         = aws_codepipeline_custom_action_type.rollout.version
      input_artifacts = ["Site"]
      configuration   = { Target = var.changed ? "b" : "a" }
    }
  }
}

resource "aws_codepipeline_webhook" "pushed" {
  name            = "pushed"
  target_pipeline = aws_codepipeline.least.name
  target_action   = "Source"
  authentication  = var.changed ? "IP" : "UNAUTHENTICATED"
  tags            = var.changed ? { stage = "live" } : { team = "web" }
  dynamic "authentication_configuration" {
    for_each = var.changed ? [1] : []
    content {
      allowed_ip_range = "192.0.2.0/24"
    }
  }
  filter {
    json_path    = "$.ref"
    match_equals = var.changed ? "refs/heads/dev" : "refs/heads/{BranchName}"
  }
}
