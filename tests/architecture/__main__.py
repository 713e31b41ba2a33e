"""`make generate`: write everything that is generated from the code: tables of the documents, and the schemas."""

from __future__ import annotations

from tests.architecture import (
    asyncapi_doc,
    chart_kafka,
    chart_schema,
    endpoint_fields_doc,
    exit_codes_doc,
    health_doc,
    metrics_doc,
    outcomes_doc,
    receivers_doc,
    record_schemas,
    rights_doc,
    roles_doc,
    settings_doc,
    signatures_doc,
    test_openapi,
)

for part in (
    endpoint_fields_doc,
    exit_codes_doc,
    health_doc,
    metrics_doc,
    outcomes_doc,
    receivers_doc,
    rights_doc,
    roles_doc,
    settings_doc,
    signatures_doc,
):
    part.SECTION.write(part.generated())
receivers_doc.write_files()
record_schemas.main()
chart_kafka.main()
chart_schema.main()
test_openapi.main()
asyncapi_doc.main()
