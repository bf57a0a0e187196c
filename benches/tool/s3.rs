//! The embedded object store as a process of its own.

use crate::{Outcome, block_on, told_to_stop};
use catchment::adapters::embedded_s3::EmbeddedS3;
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    bucket: String,
    #[arg(long)]
    access_key: String,
    #[arg(long)]
    secret_key: String,
}

pub fn run(args: Args) -> Outcome {
    block_on(async move {
        let s3 = EmbeddedS3::start(&args.dir, &args.access_key, &args.secret_key).await?;
        s3.create_bucket(&args.bucket)?;
        println!("{}", json!({ "endpoint": s3.endpoint() }));
        told_to_stop().await?;
        s3.stop().await;
        Ok(())
    })
}
