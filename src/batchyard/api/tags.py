"""Operations on the tags of queues, compute environments, job definitions and jobs."""

from batchyard.api.port import Handlers, Params, Yard, reply_of
from batchyard.kernel.commands import TagResource, UntagResource
from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.tagging import Tagged, parse_arn
from batchyard.store.port import Reader


def handlers(yard: Yard) -> Handlers:
    async def list_tags(_context: object, params: Params) -> Params:
        arn = Document(members=params).required("resourceArn")
        tagged = parse_arn(yard.realm, arn)
        tags = await yard.queries.read(lambda reader: _tags(reader, tagged))
        if tags is None:
            raise NotFound(
                f"Resource {arn} does not exist.", hint="Check the ARN with a describe operation."
            )
        return {"tags": tags}

    async def tag(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        tags = doc.text_map("tags")
        if not tags:
            raise InvalidRequest("tags must have at least one tag.", field="tags")
        return await reply_of(yard, TagResource(arn=doc.required("resourceArn"), tags=tags))

    async def untag(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        keys = doc.texts("tagKeys")
        if not keys:
            raise InvalidRequest("tagKeys must have at least one key.", field="tagKeys")
        arn = doc.required("resourceArn")
        return await reply_of(yard, UntagResource(arn=arn, keys=tuple(keys)))

    return {
        ("batch", "ListTagsForResource"): list_tags,
        ("batch", "TagResource"): tag,
        ("batch", "UntagResource"): untag,
    }


def _tags(reader: Reader, tagged: Tagged) -> dict[str, str] | None:
    """None when there is no such resource."""
    if tagged.kind == "job":
        job = reader.job(tagged.name)
        return None if job is None else job.tags
    if tagged.kind == "job-definition":
        definition = reader.definition(tagged.name)
        return None if definition is None else definition.tags
    if tagged.kind == "job-queue":
        return next((q.tags for q in reader.queues() if q.name == tagged.name), None)
    environments = reader.compute_environments()
    return next((e.tags for e in environments if e.name == tagged.name), None)
