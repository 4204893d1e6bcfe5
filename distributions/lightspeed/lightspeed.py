"""The template that `run.yaml` is generated from."""

from typing import Any

from llama_stack.core.datatypes import (
    AnnotationPromptParams,
    BuildProvider,
    FileIngestionParams,
    Provider,
    QualifiedModel,
    SafetyConfig,
    VectorStoresConfig,
)
from llama_stack.core.storage.datatypes import PostgresSqlStoreConfig
from llama_stack.distributions.starter.starter import get_remote_inference_providers
from llama_stack.distributions.template import DistributionTemplate, RunConfigSettings
from llama_stack.providers.inline.file_processor.pypdf.config import PyPDFFileProcessorConfig
from llama_stack.providers.inline.files.localfs.config import LocalfsFilesImplConfig
from llama_stack.providers.inline.vector_io.faiss.config import FaissVectorIOConfig
from llama_stack_api import ShieldInput

from lightspeed_providers.embeddings.config import LightspeedEmbeddingsConfig
from lightspeed_providers.llama_cpp.config import LlamaCppConfig
from lightspeed_providers.product_rag.config import LightspeedRagConfig
from lightspeed_providers.product_rag.store.config import LightspeedIndexConfig
from lightspeed_providers.readiness.config import LightspeedReadinessConfig
from lightspeed_providers.responses.config import LightspeedResponsesConfig
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.transcripts.config import LightspeedTranscriptsConfig

NAME = "lightspeed"
STATE = "${env.LIGHTSPEED_STATE_DIR:=~/.llama/distributions/lightspeed}"
EXTERNAL_APIS_DIR = "~/.llama/distributions/lightspeed/apis.d"
"""Llama Stack takes no variable here; `lightspeed init` writes this folder."""

EMBEDDING_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
MODULE = "lightspeed_providers"

SWITCHED_ON_BY = {
    "anthropic": "ANTHROPIC_API_KEY",
    "azure": "AZURE_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
    "cerebras": "CEREBRAS_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "ollama": "OLLAMA_URL",
    "openai": "OPENAI_API_KEY",
    "sambanova": "SAMBANOVA_API_KEY",
    "together": "TOGETHER_API_KEY",
    "vertexai": "VERTEX_AI_PROJECT",
    "vllm": "VLLM_URL",
}
"""A remote provider runs only where its variable is set; the stock starter runs most of them."""


def get_distribution_template(name: str = NAME) -> DistributionTemplate:
    """Return the distribution: our providers, the stock ones beside them, and their settings."""
    providers = _providers()
    return DistributionTemplate(
        name=name,
        distro_type="self_hosted",
        description="A product assistant: documentation search, shields, citations, transcripts.",
        providers={
            api: [BuildProvider(provider_type=p.provider_type, module=p.module) for p in listed]
            for api, listed in providers.items()
        },
        run_configs={"run.yaml": _settings(providers)},
        run_config_env_vars={
            "LIGHTSPEED_MODEL": ("llama-cpp/gemma-3-270m", "Model that answers, `provider/model`"),
            "LIGHTSPEED_DEVICE": ("auto", "`cpu`, `cuda` or `auto` for embeddings and classifiers"),
            "LIGHTSPEED_STATE_DIR": ("~/.llama/distributions/lightspeed", "Indexes and stores"),
            "LIGHTSPEED_INDEX": (
                "demo",
                "Indexes under the state directory, separated by commas",
            ),
            "LIGHTSPEED_PROFILES": ("django", "Profiles, by name or path, separated by commas"),
            "LIGHTSPEED_PROFILE": ("", "Profile that holds where a request chooses none"),
            "LIGHTSPEED_SIDE_DOORS": ("guarded", "`closed` answers chat completions with 403"),
            "LIGHTSPEED_USER_HEADER": ("", "Header by which a trusted proxy names the user"),
            **{variable: ("", f"Switches `{p}` on") for p, variable in SWITCHED_ON_BY.items()},
        },
    )


def _settings(providers: dict[str, list[Provider]]) -> RunConfigSettings:
    return RunConfigSettings(
        provider_overrides=providers,
        default_models=[],
        # The provider registers the others with it.
        default_shields=[ShieldInput(shield_id=NAME, provider_id=NAME, provider_shield_id=NAME)],
        default_connectors=[],
        vector_stores_config=VectorStoresConfig(
            default_provider_id="faiss",
            default_embedding_model=QualifiedModel(
                provider_id="lightspeed-embeddings", model_id=EMBEDDING_MODEL
            ),
            # The host's own templates show scores and ask the model to cite ids. What an answer
            # rests on is told by its annotations; switching the host's off would not change what
            # it asks.
            annotation_prompt_params=AnnotationPromptParams(
                annotation_instruction_template="Answer in plain words, without ids of sources.",
                chunk_annotation_template="[{index}] {file_id}\n{chunk_text}\n",
            ),
            # MiniLM reads 256 of its own tokens; what is longer would never be embedded.
            file_ingestion_params=FileIngestionParams(
                default_chunk_size_tokens=200, default_chunk_overlap_tokens=40
            ),
        ),
        safety_config=SafetyConfig(default_shield_id=NAME),
        storage_backends=_backends(),
        storage_stores=_stores(),
    )


def _backends() -> dict[str, Any]:
    """Return the stores' files, and a PostgreSQL that is used where a store names it.

    Chat completions and transcripts have files of their own: SQLite lets one write at a time, and
    what a request waits for should not wait behind them. What else keeps Llama Stack's stores from
    stalling under load is in `core/host_stores.py`.
    """
    return {
        "kv_default": {"type": "kv_sqlite", "db_path": f"{STATE}/kvstore.db"},
        "sql_default": {"type": "sql_sqlite", "db_path": f"{STATE}/sql_store.db"},
        "sql_inference": {"type": "sql_sqlite", "db_path": f"{STATE}/inference.db"},
        "sql_transcripts": {"type": "sql_sqlite", "db_path": f"{STATE}/transcripts.db"},
        "sql_postgres": PostgresSqlStoreConfig.sample_run_config(),
    }


def _stores() -> dict[str, Any]:
    return {
        "metadata": {"backend": "kv_default", "namespace": "registry"},
        "inference": {"backend": "sql_inference", "table_name": "inference_store"},
        "conversations": {"backend": "sql_default", "table_name": "openai_conversations"},
        "prompts": {"backend": "kv_default", "namespace": "prompts"},
        "connectors": {"backend": "kv_default", "namespace": "connectors"},
    }


def _providers() -> dict[str, list[Provider]]:
    return {
        "inference": [
            _ours("llama-cpp", "inline::llama-cpp", LlamaCppConfig.sample_run_config(STATE)),
            _ours(
                "lightspeed-embeddings",
                "inline::lightspeed-embeddings",
                LightspeedEmbeddingsConfig.sample_run_config(STATE),
            ),
            *_remote_inference(),
        ],
        "vector_io": [
            Provider(
                provider_id="faiss",
                provider_type="inline::faiss",
                config=FaissVectorIOConfig.sample_run_config(STATE),
            ),
            _ours(
                "lightspeed-index",
                "inline::lightspeed-index",
                LightspeedIndexConfig.sample_run_config(STATE),
            ),
        ],
        "files": [
            Provider(
                provider_id="builtin-files",
                provider_type="inline::localfs",
                config=LocalfsFilesImplConfig.sample_run_config(STATE)
                | {"storage_dir": f"{STATE}/files"},
            )
        ],
        "file_processors": [
            Provider(
                provider_id="pypdf",
                provider_type="inline::pypdf",
                config=PyPDFFileProcessorConfig.sample_run_config(),
            )
        ],
        "safety": [
            _ours(
                NAME, "inline::lightspeed-shields", LightspeedShieldsConfig.sample_run_config(STATE)
            )
        ],
        "tool_runtime": [
            _ours(NAME, "inline::lightspeed-rag", LightspeedRagConfig.sample_run_config(STATE)),
            Provider(provider_id="file-search", provider_type="inline::file-search"),
            Provider(
                provider_id="model-context-protocol",
                provider_type="remote::model-context-protocol",
            ),
        ],
        "responses": [
            _ours(
                NAME,
                "inline::lightspeed-responses",
                LightspeedResponsesConfig.sample_run_config(STATE),
            )
        ],
        "transcripts": [
            _ours(
                NAME,
                "inline::lightspeed-transcripts",
                LightspeedTranscriptsConfig.sample_run_config(STATE),
            )
        ],
        "readiness": [
            _ours(
                NAME,
                "inline::lightspeed-readiness",
                LightspeedReadinessConfig.sample_run_config(STATE),
            )
        ],
    }


def _ours(provider_id: str, provider_type: str, config: dict[str, Any]) -> Provider:
    return Provider(
        provider_id=provider_id, provider_type=provider_type, config=config, module=MODULE
    )


def _remote_inference() -> list[Provider]:
    """Return the stock starter's remote providers, each off until its variable is set."""
    return [
        provider.model_copy(update={"provider_id": f"${{env.{SWITCHED_ON_BY[kind]}:+{kind}}}"})
        for provider in get_remote_inference_providers()
        if (kind := provider.provider_type.removeprefix("remote::"))
    ]
