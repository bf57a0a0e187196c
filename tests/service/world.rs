//! What the stories do to the service and look at.

use crate::outside::{Outside, Serve, pause};
use catchment::simulator::Generation;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A clean name for each task, so that the simulator's chance falls the same in every run.
pub fn uuid(n: usize) -> String {
    format!("0c0ffee0-0000-4000-8000-{n:012x}")
}

/// An ordinary task; the directive in its prompt tells the simulator what goes wrong with it.
pub fn task(n: usize, simulate: &str) -> Value {
    json!({
        "taskType": "videoInference",
        "taskUUID": uuid(n),
        "model": "klingai:avatar@2.0-pro",
        "inputs": { "image": "https://cdn.example.com/a.png", "audio": "https://cdn.example.com/a.mp3" },
        "positivePrompt": format!("A presenter [sim: {simulate}]"),
    })
}

impl Outside {
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.push((name, value.into()));
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    /// The provider's truth about one task, once it has accepted it.
    pub fn generation(&self, task: &str) -> Option<Generation> {
        let all = self.simulator.generations();
        all.into_iter().find(|g| g.task_uuid.to_string() == task)
    }

    /// The address that the provider was told to report to: whoever sees it can use it.
    pub async fn callback_url(&self, serve: &Serve, task: &str) -> String {
        let ask = json!([{ "taskType": "getTaskDetails", "taskUUID": task }]);
        for _ in 0..500 {
            let request = serve
                .client
                .post(self.simulator.api_url())
                .bearer_auth("provider-key")
                .json(&ask);
            let told: Value = request.send().await.unwrap().json().await.unwrap();
            if let Some(url) = told["data"][0]["request"][0]["webhookURL"].as_str() {
                return url.to_owned();
            }
            pause().await;
        }
        panic!("the provider never got {task}");
    }
}

impl Serve {
    /// Submits and gives back the entries of the 202.
    pub async fn submit(&self, body: &Value) -> Value {
        let answer = self.post("/v1/tasks", body, None).await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::ACCEPTED, "{body:#}");
        body["data"].clone()
    }

    /// Status and body of the readiness page.
    pub async fn readiness(&self) -> (u16, Value) {
        let answer = self
            .client
            .get(format!("{}/readyz", self.base))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The code under which a component is told as degraded.
    pub async fn degraded(&self, component: &str) -> Option<String> {
        let (status, page) = self.readiness().await;
        assert_eq!(status, 200, "trouble elsewhere turns nobody away: {page}");
        let list = page["degraded"].as_array().unwrap();
        let found = list.iter().find(|d| d["component"] == component)?;
        Some(found["code"].as_str().unwrap().to_owned())
    }

    pub async fn wait_degraded(&self, component: &str) -> String {
        for _ in 0..1500 {
            if let Some(code) = self.degraded(component).await {
                return code;
            }
            pause().await;
        }
        panic!("{component} was never told as degraded");
    }

    pub async fn wait_fine(&self, component: &str) {
        for _ in 0..1500 {
            if self.degraded(component).await.is_none() {
                return;
            }
            pause().await;
        }
        panic!("{component} stays degraded: {:?}", self.readiness().await);
    }

    /// Waits until this task satisfies a condition.
    pub async fn wait_task(&self, id: &str, what: &str, fact: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..1500 {
            last = self.task(id).await;
            if fact(&last) {
                return last;
            }
            pause().await;
        }
        panic!("never came: {what}\n{last:#}");
    }

    pub async fn wait_status(&self, id: &str, status: &str) -> Value {
        self.wait_task(id, status, |t| t["status"] == status).await
    }

    /// A callback as the provider, or whoever knows the address, would send it.
    pub async fn call_back(&self, url: &str, body: &Value) -> u16 {
        let answer = self.client.post(url).json(body).send().await.unwrap();
        answer.status().as_u16()
    }

    pub async fn metrics(&self) -> String {
        let answer = self
            .client
            .get(format!("{}/metrics", self.base))
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    }

    pub async fn events(&self) -> Vec<Value> {
        self.try_events().await.unwrap()
    }
}

pub fn queries(timeline: &Value) -> usize {
    let lines = timeline["timeline"].as_array().unwrap();
    lines.iter().filter(|l| l["kind"] == "queried").count()
}
