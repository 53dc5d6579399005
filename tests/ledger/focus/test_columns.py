"""Columns of FOCUS 1.2 and 1.4, as the specification lists them."""

from __future__ import annotations

import pytest

from tokenmeter.components import COMPONENTS
from tokenmeter.ledger.focus.columns import VERSIONS, columns, unit_name

COUNTS = {"1.2": 57, "1.4": 65}
"""Columns of "Cost and Usage", counted in the specification of each version."""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_its_columns_in_order_and_extensions_last(version: str) -> None:
    names = [column.name for column in columns(version)]
    own = [name for name in names if not name.startswith("x_")]
    assert len(own) == COUNTS[version]
    assert names[: len(own)] == own == sorted(own)
    assert len(set(names)) == len(names)


def test_1_4_names_service_and_host_providers_where_1_2_names_provider_and_publisher() -> None:
    old, new = ({column.name for column in columns(version)} for version in ("1.2", "1.4"))
    assert old - new == {"ProviderName", "PublisherName"}
    assert {"ServiceProviderName", "HostProviderName", "InvoiceDetailId"} <= new - old


MANDATORY = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ServiceCategory", "ServiceName",
)  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_what_may_never_be_null(version: str) -> None:
    null = {column.name: column.null for column in columns(version)}
    assert not any(null[name] for name in MANDATORY)


SPECIFIED = {
    # FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec at 003443d7, specification/datasets/cost_and_usage/dataset.md, table
    # "Columns": what it says never allows nulls, and the columns that are not text. The three columns that 1.5 brings
    # (CredentialDetails, CredentialId, PrincipalId) are left out.
    "never null": """BilledCost BillingAccountId BillingAccountType BillingCurrency BillingPeriodEnd BillingPeriodStart
        ChargeCategory ChargeFrequency ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost HostProviderName
        InvoiceIssuerName ListCost PricingCurrency PricingCurrencyEffectiveCost ServiceCategory ServiceName
        ServiceProviderName ServiceSubcategory""",
    "Decimal": """BilledCost CommitmentDiscountQuantity ConsumedQuantity ContractedCost ContractedUnitPrice
        EffectiveCost ListCost ListUnitPrice PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost
        PricingCurrencyListUnitPrice PricingQuantity""",
    "DateTime": "BillingPeriodEnd BillingPeriodStart ChargePeriodEnd ChargePeriodStart",
    "JSON": """AllocatedMethodDetails AllocatedTags CommitmentProgramEligibilityDetails ContractApplied SkuPriceDetails
        Tags""",
    "String": """AllocatedMethodId AllocatedResourceId AllocatedResourceName AvailabilityZone BillingAccountId
        BillingAccountName BillingAccountType BillingCurrency CapacityReservationId CapacityReservationStatus
        ChargeCategory ChargeClass ChargeDescription ChargeFrequency CommitmentDiscountCategory CommitmentDiscountId
        CommitmentDiscountName CommitmentDiscountStatus CommitmentDiscountType CommitmentDiscountUnit ConsumedUnit
        HostProviderName InvoiceDetailId InvoiceId InvoiceIssuerName PricingCategory PricingCurrency PricingUnit
        RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceProviderName
        ServiceSubcategory SkuId SkuMeter SkuPriceId SubAccountId SubAccountName SubAccountType""",
}


def test_1_4_has_the_columns_types_and_nulls_of_the_specification() -> None:
    found: dict[str, set[str]] = {name: set() for name in SPECIFIED}
    for column in columns("1.4"):
        if not column.name.startswith("x_"):
            found[column.type].add(column.name)
            if not column.null:
                found["never null"].add(column.name)
    assert found == {name: set(names.split()) for name, names in SPECIFIED.items()}


@pytest.mark.parametrize("component", [part.name for part in COMPONENTS])
def test_every_component_has_a_unit(component: str) -> None:
    assert unit_name(component)[0].isupper()
