"""Erasures of subjects: destroy the key of what Hookstream has written about a subject."""

from __future__ import annotations

from app.api.contract.erasures import ErasureIn, ErasureOut
from app.api.contract.fields import FieldError
from app.api.pagination import page
from app.api.problems import invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core import limits
from app.core.model.erasure import Erasure, is_subject
from app.core.model.timestamps import iso
from app.core.records.command import EraseSubject


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Erase a subject; returns when its key is destroyed, and this process no longer shows its events."""
    body: ErasureIn = call.body
    if not is_subject(body.subject):
        raise invalid(FieldError(detail=f"1 to {limits.SUBJECT} printable characters", pointer="/subject"))
    tenant, mode = call.caller.tenant, call.caller.mode
    id_ = api.subjects.erasure_id(tenant, mode, body.subject)
    await api.command(EraseSubject(id_, tenant, mode), id_)
    erasure = api.feed.directory.erasures.by_id[id_]
    return ApiResponse(body=present_erasure(erasure), headers={"Location": f"/v1/erasures/{id_}"})


async def list_(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The erasures of the key's tenant and mode, by id."""
    erasures = api.feed.directory.erasures.by_id.values()
    mine = sorted((each for each in erasures if _is_mine(each, call)), key=_id)
    return ApiResponse(body=page(call, mine, _id, present_erasure))


async def get(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """One erasure."""
    erasure = api.feed.directory.erasures.by_id.get(call.path["id"])
    if erasure is None or not _is_mine(erasure, call):
        raise not_found("erasure", call.path["id"])
    return ApiResponse(body=present_erasure(erasure))


def present_erasure(erasure: Erasure) -> ErasureOut:
    """An erasure for its tenant."""
    return ErasureOut(id=erasure.id, erased_at=iso(erasure.erased_at_ms), times=erasure.version)


def _is_mine(erasure: Erasure, call: ApiRequest) -> bool:
    return (erasure.tenant, erasure.mode) == (call.caller.tenant, call.caller.mode)


def _id(erasure: Erasure) -> str:
    return erasure.id
