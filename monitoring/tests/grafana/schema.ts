// What Grafana's own schema says of a dashboard, more strictly than its JSON schema: options are those of the kind of panel,
// and what it does not know is refused. `dashboard.sh` puts the dashboard behind this, for TypeScript looks for what is not
// known in a literal alone.
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from "@grafana/grafana-foundation-sdk/dashboard";
import type { Dataquery } from "@grafana/grafana-foundation-sdk/prometheus";
import type * as stat from "@grafana/grafana-foundation-sdk/stat";
import type * as table from "@grafana/grafana-foundation-sdk/table";
import type * as timeseries from "@grafana/grafana-foundation-sdk/timeseries";

/** As it stands in JSON: of an enumeration the values, and none of the marks by which the SDK tells queries apart. */
type Json<T> = unknown extends T
  ? unknown
  : T extends string
    ? `${T}`
    : T extends number | boolean | null | undefined
      ? T
      : T extends (infer Item)[]
        ? Json<Item>[]
        : T extends object
          ? { [Key in keyof T as Key extends `_implements${string}` ? never : Key]: Json<T[Key]> }
          : T;

type Of<Kind extends string, Options, Custom> = Omit<Json<Panel>, "type" | "targets" | "options" | "fieldConfig"> & {
  type: Kind;
  targets?: Json<Dataquery>[];
  options?: Json<Options>;
  fieldConfig?: Omit<Json<FieldConfigSource>, "defaults"> & {
    defaults: Omit<Json<FieldConfig>, "custom"> & { custom?: Json<Custom> };
  };
};

type AnyPanel =
  | Of<"stat", stat.Options, never>
  | Of<"table", table.Options, table.FieldConfig>
  | Of<"timeseries", timeseries.Options, timeseries.FieldConfig>
  | (Omit<Json<RowPanel>, "panels"> & { panels: AnyPanel[] });

export const dashboard: Omit<Json<Dashboard>, "panels"> & { panels: AnyPanel[] } =
