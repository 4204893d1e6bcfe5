"""What would change a read-only vector store, refused in one line."""

from typing import NoReturn

from llama_stack_api import (
    DeleteChunksRequest,
    InsertChunksRequest,
    OpenAIAttachFileRequest,
    OpenAICreateVectorStoreFileBatchRequestWithExtraBody,
    OpenAICreateVectorStoreRequestWithExtraBody,
    OpenAIUpdateVectorStoreFileRequest,
    OpenAIUpdateVectorStoreRequest,
    VectorIO,
    VectorStore,
    VectorStoreDeleteResponse,
    VectorStoreFileBatchObject,
    VectorStoreFileDeleteResponse,
    VectorStoreFileObject,
    VectorStoreFilesListInBatchResponse,
    VectorStoreObject,
)

from lightspeed_providers.core.errors import InvalidRequestError, NotFoundError


class ReadOnlyStores(VectorIO):
    """The half of the vector store API that a documentation index does not have."""

    async def register_vector_store(self, vector_store: VectorStore) -> None:
        """Refuse: stores are what is configured."""
        _refuse("create a vector store")

    async def unregister_vector_store(self, vector_store_id: str) -> None:
        """Refuse: stores are what is configured."""
        _refuse("delete the vector store")

    async def insert_chunks(self, request: InsertChunksRequest) -> None:
        """Refuse."""
        _refuse("insert chunks")

    async def delete_chunks(self, request: DeleteChunksRequest) -> None:
        """Refuse."""
        _refuse("delete chunks")

    async def openai_create_vector_store(
        self, params: OpenAICreateVectorStoreRequestWithExtraBody
    ) -> VectorStoreObject:
        """Refuse."""
        _refuse("create a vector store")

    async def openai_update_vector_store(
        self, vector_store_id: str, request: OpenAIUpdateVectorStoreRequest
    ) -> VectorStoreObject:
        """Refuse."""
        _refuse("change the vector store")

    async def openai_delete_vector_store(self, vector_store_id: str) -> VectorStoreDeleteResponse:
        """Refuse."""
        _refuse("delete the vector store")

    async def openai_attach_file_to_vector_store(
        self, vector_store_id: str, request: OpenAIAttachFileRequest
    ) -> VectorStoreFileObject:
        """Refuse."""
        _refuse("attach a file")

    async def openai_update_vector_store_file(
        self, vector_store_id: str, file_id: str, request: OpenAIUpdateVectorStoreFileRequest
    ) -> VectorStoreFileObject:
        """Refuse."""
        _refuse("change a file")

    async def openai_delete_vector_store_file(
        self, vector_store_id: str, file_id: str
    ) -> VectorStoreFileDeleteResponse:
        """Refuse."""
        _refuse("delete a file")

    async def openai_create_vector_store_file_batch(
        self, vector_store_id: str, params: OpenAICreateVectorStoreFileBatchRequestWithExtraBody
    ) -> VectorStoreFileBatchObject:
        """Refuse."""
        _refuse("attach files")

    async def openai_retrieve_vector_store_file_batch(
        self, batch_id: str, vector_store_id: str
    ) -> VectorStoreFileBatchObject:
        """Refuse: nothing is attached here, so there are no batches."""
        _no_batch(batch_id)

    async def openai_list_files_in_vector_store_file_batch(
        self,
        batch_id: str,
        vector_store_id: str,
        after: str | None = None,
        before: str | None = None,
        filter: str | None = None,
        limit: int | None = 20,
        order: str | None = "desc",
    ) -> VectorStoreFilesListInBatchResponse:
        """Refuse: nothing is attached here, so there are no batches."""
        _no_batch(batch_id)

    async def openai_cancel_vector_store_file_batch(
        self, batch_id: str, vector_store_id: str
    ) -> VectorStoreFileBatchObject:
        """Refuse: nothing is attached here, so there are no batches."""
        _no_batch(batch_id)


def _refuse(what: str) -> NoReturn:
    raise InvalidRequestError(
        f"Can't {what}: documentation indexes are read-only here; change them with "
        "`lightspeed ingest`, and put your own documents into a store of another provider."
    )


def _no_batch(batch_id: str) -> NoReturn:
    raise NotFoundError(f"No batch '{batch_id[:80]}': no files are attached to this vector store.")
