//! What the load programs ask of a center with an administrator's token: an institution and enrolment codes.

use anyhow::Context as _;
use gateway_wire::EnrolCode;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

/// A center's API.
#[derive(Clone)]
pub struct Api {
    /// Its address.
    pub center: String,
    institution: String,
    token: String,
}

impl Api {
    /// With the token of this file.
    pub fn new(center: &str, institution: &str, token_file: &std::path::Path) -> anyhow::Result<Self> {
        let token =
            std::fs::read_to_string(token_file).with_context(|| format!("read {}", token_file.display()))?;
        let token = format!("Bearer {}", token.trim());
        Ok(Self { center: center.to_owned(), institution: institution.to_owned(), token })
    }

    async fn post(
        &self,
        client: &reqwest::Client,
        path: &str,
        body: serde_json::Value,
    ) -> anyhow::Result<reqwest::Response> {
        let request = client.post(format!("{}{path}", self.center)).header(AUTHORIZATION, &self.token);
        request.json(&body).send().await.with_context(|| format!("POST {path}"))
    }

    /// Makes the institution that gateways join, if it is not there.
    pub async fn institution(&self, client: &reqwest::Client) -> anyhow::Result<()> {
        let body =
            json!({"id": self.institution, "name_zh": "压力测试", "name_en": "Load test", "kind": "hotel"});
        let answer = self.post(client, "/api/v1/institutions", body).await?;
        let status = answer.status();
        anyhow::ensure!(
            status.is_success() || status == reqwest::StatusCode::CONFLICT,
            "make the institution: {status} {}",
            answer.text().await?
        );
        Ok(())
    }

    /// An enrolment code for a site.
    pub async fn code(&self, client: &reqwest::Client, site: &str) -> anyhow::Result<EnrolCode> {
        let body = json!({"institution": self.institution, "site": site});
        let answer = self.post(client, "/api/v1/enrolment-codes", body).await?;
        let status = answer.status();
        let answer: serde_json::Value = answer.json().await.with_context(|| format!("a code: {status}"))?;
        let code = answer["code"].as_str().and_then(EnrolCode::parse);
        code.with_context(|| format!("a code: {status} {answer}"))
    }
}
